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

/// A process id that no process has.
std::string dead_process() {
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ::waitpid(gone, nullptr, 0);
  return std::to_string(gone);
}

TEST(WriteDirectoryTest, RemovesWhatAKilledProcessLeftOfTheSameNameAndNothingElse) {
  TemporaryDirectory directory;
  const std::string dead = dead_process();
  Names names{"run." + std::to_string(::getppid()) + "-1.tmp", "run.tmp", "run.backup",
              "run2." + dead + "-1.tmp", "run.a." + dead + "-1.tmp"};
  for (const auto& name : names) fs::create_directory(directory / name);
  fs::create_directories(directory / ("run." + dead + "-1.tmp") / "half");
  write_directory(directory / "run", [](const fs::path&) {});
  names.insert("run");
  EXPECT_EQ(names_in(directory.path()), names);
}

TEST(RemoveLeftoversTest, RemovesTheTemporariesOfDeadProcessesOfAnyName) {
  TemporaryDirectory directory;
  const std::string dead = dead_process();
  fs::create_directories(directory / ("checkpoint-20." + dead + "-4294967295.tmp") / "half");
  for (const std::string target : {"config.yaml", "a.1-1.tmp", "metrics.jsonl"}) {
    write_file(directory / (target + "." + dead + "-7.tmp"), "half");
  }
  remove_leftovers(directory.path());
  EXPECT_EQ(names_in(directory.path()), Names{});
}

TEST(RemoveLeftoversTest, AnEarlierProcessOfOurNumberIsDead) {
  TemporaryDirectory directory;
  const std::string ours = std::to_string(::getpid());
  write_file(directory / ("a." + ours + "-1.tmp"), "half");
  remove_leftovers(directory.path(), "a");
  EXPECT_EQ(names_in(directory.path()).size(), 1u) << "another thread may be writing a";
  remove_leftovers(directory.path());
  EXPECT_EQ(names_in(directory.path()), Names{});
}

TEST(RemoveLeftoversTest, LeavesLiveProcessesAndOtherNamesAlone) {
  TemporaryDirectory directory;
  const std::string dead = dead_process();
  for (const std::string& name :
       {"a." + std::to_string(::getppid()) + "-1.tmp", std::string("notes.tmp"),
        std::string("checkpoint-38.tmp"), std::string("a.0-1.tmp"), "a." + dead + "-1",
        "a." + dead + ".tmp", "a." + dead + "-.tmp", "a." + dead + "-x.tmp",
        "a." + dead + "-1x.tmp", "a.-" + dead + "-1.tmp", "a.x" + dead + "-1.tmp",
        "." + dead + "-1.tmp", dead + "-1.tmp", "a." + dead + "-99999999999.tmp"}) {
    write_file(directory / name, "x");
  }
  const Names before = names_in(directory.path());
  EXPECT_EQ(before.size(), 14u);
  remove_leftovers(directory.path());
  EXPECT_EQ(names_in(directory.path()), before);
}

TEST(AtomicFileTest, ReplacesTheFileBehindALink) {
  TemporaryDirectory directory;
  write_file(directory / "file", "old");
  fs::create_symlink("file", directory / "link");
  write_file(directory / "link", "new");
  EXPECT_TRUE(fs::is_symlink(directory / "link"));
  EXPECT_EQ(read_file(directory / "file"), "new");
}

TEST(AtomicFileTest, ReplacesNoDevice) {
  TemporaryDirectory directory;
  ASSERT_EQ(::mkfifo((directory / "pipe").c_str(), 0600), 0);
  expect_error<IoError>([&] { write_file(directory / "pipe", "x"); },
                        {"/pipe", "device or a pipe"});
  EXPECT_TRUE(fs::is_fifo(directory / "pipe"));
}

TEST(WriteDirectoryTest, AFileOfThatNameOrAMissingParentIsAnError) {
  TemporaryDirectory directory;
  write_file(directory / "a", "x");
  const auto fill = [](const fs::path&) { FAIL() << "must not be called"; };
  expect_error<IoError>([&] { write_directory(directory / "a", fill); }, {"/a", "is a file"});
  try {
    write_directory(directory / "missing/a", fill);
    ADD_FAILURE() << "nothing was thrown";
  } catch (const IoError& error) {
    const std::string parent = (directory / "missing").string();
    EXPECT_EQ(error.what(),
              "\"" + parent + "\": no such directory, needed to write \"" + parent + "/a\"");
  }
}

}  // namespace
}  // namespace shira
