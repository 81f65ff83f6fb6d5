// Locks between processes are between file descriptions: two in one process are like two processes.
#include "io/expect_error.h"
#include "io/temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/directory_lock.h>

#include <gtest/gtest.h>

#include <optional>

namespace shira {
namespace {

TEST(DirectoryLock, IsHeldByOneAtATimeAndLeavesNoFile) {
  const TemporaryDirectory directory;
  std::optional<DirectoryLock> first(directory.path());
  expect_error<IoError>([&] { DirectoryLock{directory.path()}; },
                        {directory.path().string(), "another run"});
  first.reset();
  EXPECT_NO_THROW(DirectoryLock{directory.path()});
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(CheckOutputDirectory, AcceptsWhatCanBeMadeAndMakesNothing) {
  const TemporaryDirectory directory;
  EXPECT_NO_THROW(check_output_directory("output_dir", directory / "a/b/c"));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(CheckOutputDirectory, RefusesAFileAndAPlaceThatCannotBeWritten) {
  const TemporaryDirectory directory;
  write_file(directory / "file", "x");
  expect_error<ConfigError>([&] { check_output_directory("output_dir", directory / "file/a"); },
                            {"output_dir", "file is a file"});
  expect_error<ConfigError>([] { check_output_directory("output_dir", "/proc/1/a"); },
                            {"output_dir", "/proc/1"});
}

}  // namespace
}  // namespace shira
