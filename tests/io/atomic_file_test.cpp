// What is on disk after success, failure and crashes.
#include "expect_error.h"
#include "file_size_limit.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <set>

namespace shira {
namespace {

namespace fs = std::filesystem;

std::set<std::string> names_in(const fs::path& directory) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.insert(entry.path().filename());
  return names;
}

using Names = std::set<std::string>;

TEST(AtomicFileTest, FileHasNoNameUntilCommit) {
  TemporaryDirectory directory;
  AtomicFile file(directory / "a");
  file.write("one ");
  file.write("two");
  EXPECT_FALSE(fs::exists(directory / "a"));
  file.commit();
  EXPECT_EQ(read_file(directory / "a"), "one two");
  EXPECT_EQ(names_in(directory.path()), Names{"a"});
}

TEST(AtomicFileTest, WithoutCommitTheOldFileStaysAndNothingElse) {
  TemporaryDirectory directory;
  write_file(directory / "a", "old");
  {
    AtomicFile file(directory / "a");
    file.write("new");
    EXPECT_EQ(names_in(directory.path()).size(), 2u);
    for (const auto& name : names_in(directory.path())) {
      EXPECT_TRUE(name == "a" || name.ends_with(".tmp")) << name;
    }
  }
  EXPECT_EQ(read_file(directory / "a"), "old");
  EXPECT_EQ(names_in(directory.path()), Names{"a"});
}

TEST(AtomicFileTest, CommitReplacesTheOldFile) {
  TemporaryDirectory directory;
  write_file(directory / "a", "old and long");
  write_file(directory / "a", "new");
  EXPECT_EQ(read_file(directory / "a"), "new");
}

TEST(AtomicFileTest, FullDiskKeepsTheOldFile) {
  TemporaryDirectory directory;
  write_file(directory / "a", "old");
  {
    const FileSizeLimit limit(4096);  // the first write is cut short, the next one fails
    expect_error<IoError>([&] { write_file(directory / "a", std::string(10'000, 'x')); },
                          {"/a", "File too large"});
  }
  EXPECT_EQ(read_file(directory / "a"), "old");
  EXPECT_EQ(names_in(directory.path()), Names{"a"});
}

TEST(AtomicFileTest, PermissionsFollowTheUmask) {
  TemporaryDirectory directory;
  const mode_t old = ::umask(027);
  write_file(directory / "a", "x");
  ::umask(old);
  struct stat status{};
  ASSERT_EQ(::stat((directory / "a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640u);
}

TEST(AtomicFileTest, TwoWritersOfOneNameDoNotMeet) {
  TemporaryDirectory directory;
  AtomicFile first(directory / "a");
  AtomicFile second(directory / "a");
  first.write("first");
  second.write("second");
  second.commit();
  first.commit();
  EXPECT_EQ(read_file(directory / "a"), "first");
}

TEST(AtomicFileTest, UseAfterCommitIsAnError) {
  TemporaryDirectory directory;
  AtomicFile file(directory / "a");
  file.commit();
  expect_error<IoError>([&] { file.write("x"); }, {"after commit"});
  expect_error<IoError>([&] { file.commit(); }, {"committed twice"});
  EXPECT_EQ(read_file(directory / "a"), "");
}

TEST(AtomicFileTest, MissingDirectoryAndDirectoryAsNameAreErrors) {
  TemporaryDirectory directory;
  expect_error<IoError>([&] { AtomicFile file(directory / "missing/a"); },
                        {"missing/a", "No such file or directory"});
  expect_error<IoError>([&] { AtomicFile file(directory.path()); }, {"is a directory"});
}

TEST(ReadFileTest, ReturnsEveryByte) {
  TemporaryDirectory directory;
  std::string content(200'000, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7);
  write_file(directory / "a", content);
  EXPECT_EQ(read_file(directory / "a"), content);
}

TEST(ReadFileTest, MissingFileAndDirectoryAreErrors) {
  TemporaryDirectory directory;
  expect_error<IoError>([&] { read_file(directory / "a"); }, {"/a", "No such file"});
  expect_error<IoError>([&] { read_file(directory.path()); }, {"Is a directory"});
}

TEST(WriteDirectoryTest, AppearsCompleteWithItsSubdirectories) {
  TemporaryDirectory directory;
  write_directory(directory / "run", [&](const fs::path& inside) {
    EXPECT_FALSE(fs::exists(directory / "run"));
    fs::create_directory(inside / "sub");
    write_file(inside / "sub" / "a", "x");
  });
  EXPECT_EQ(read_file(directory / "run/sub/a"), "x");
  EXPECT_EQ(names_in(directory.path()), Names{"run"});
}

TEST(WriteDirectoryTest, ReplacesAnExistingDirectory) {
  TemporaryDirectory directory;
  for (const std::string name : {"old", "new"}) {
    write_directory(directory / "run/",
                    [&](const fs::path& inside) { write_file(inside / name, name); });
  }
  EXPECT_EQ(names_in(directory / "run"), Names{"new"});
  EXPECT_EQ(names_in(directory.path()), Names{"run"});
}

TEST(WriteDirectoryTest, AThrowingFillChangesNothing) {
  TemporaryDirectory directory;
  write_directory(directory / "run", [](const fs::path& inside) { write_file(inside / "a", "x"); });
  const auto fail = [](const fs::path& inside) {
    write_file(inside / "b", "y");
    throw ConfigError("no");
  };
  EXPECT_THROW(write_directory(directory / "run", fail), ConfigError);
  EXPECT_EQ(names_in(directory / "run"), Names{"a"});
  EXPECT_EQ(names_in(directory.path()), Names{"run"});
}

TEST(WriteDirectoryTest, ALinkKeepsPointingToItsReplacedTarget) {
  TemporaryDirectory directory;
  fs::create_directory(directory / "real");
  fs::create_directory_symlink(directory / "real", directory / "link");
  write_directory(directory / "link",
                  [](const fs::path& inside) { write_file(inside / "a", "x"); });
  EXPECT_TRUE(fs::is_symlink(directory / "link"));
  EXPECT_EQ(read_file(directory / "real/a"), "x");
}

TEST(WriteDirectoryTest, RemovesWhatAKilledProcessLeftButNothingElse) {
  TemporaryDirectory directory;
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ::waitpid(gone, nullptr, 0);
  const std::string dead = "run." + std::to_string(gone) + "-1.tmp";
  const std::string alive = "run." + std::to_string(::getppid()) + "-1.tmp";
  const Names others{alive, "run.tmp", "run.backup", "run2." + std::to_string(gone) + "-1.tmp"};
  for (const auto& name : others) fs::create_directory(directory / name);
  fs::create_directories(directory / dead / "half");
  write_directory(directory / "run", [](const fs::path&) {});
  Names expected = others;
  expected.insert("run");
  EXPECT_EQ(names_in(directory.path()), expected);
}

TEST(WriteDirectoryTest, AFileOfThatNameOrAMissingParentIsAnError) {
  TemporaryDirectory directory;
  write_file(directory / "a", "x");
  const auto fill = [](const fs::path&) { FAIL() << "must not be called"; };
  expect_error<IoError>([&] { write_directory(directory / "a", fill); }, {"/a", "is a file"});
  expect_error<IoError>([&] { write_directory(directory / "missing/a", fill); }, {"No such file"});
}

}  // namespace
}  // namespace shira
