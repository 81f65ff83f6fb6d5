// Bytes of single events (as the protobuf library encodes them) and what files are on disk.
// tests/cli/test_pictures_and_events.py has TensorBoard itself read them.
#include "expect_error.h"
#include "file_size_limit.h"
#include "io/event_encoding.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/event_file.h>

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

namespace shira {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;

/// 1.0 as wall time: field 1, fixed64.
const std::string kOneSecond = "\x09\0\0\0\0\0\0\xf0\x3f"s;

TEST(EventEncodingTest, ScalarHasTimeStepTagAndFloat) {
  EXPECT_EQ(detail::scalar_event(1.0, 300, "a", 0.5F),
            kOneSecond + "\x10\xac\x02"s + "\x2a\x0a\x0a\x08\x0a\x01"s + "a\x15\0\0\0\x3f"s);
}

TEST(EventEncodingTest, TextIsATensorOfOneStringForTheTextPlugin) {
  const std::string tensor = "\x42\x0c\x08\x07\x12\x04\x12\x02\x08\x01\x42\x02hi"s;
  const std::string plugin = "\x4a\x08\x0a\x06\x0a\x04text"s;
  EXPECT_EQ(detail::text_event(1.0, 2, "t", "hi"),
            kOneSecond + "\x10\x02\x2a\x1d\x0a\x1b\x0a\x01t"s + tensor + plugin);
}

TEST(EventEncodingTest, RestartIsASessionLogOfStatusOne) {
  EXPECT_EQ(detail::restart_event(1.0, 7), kOneSecond + "\x10\x07\x3a\x02\x08\x01"s);
}

// The length of a version event, 24, and its checksum are how every TensorBoard file begins.
TEST(EventEncodingTest, RecordIsLengthChecksumDataChecksum) {
  const std::string record = detail::tf_record(detail::version_event(1.0));
  EXPECT_EQ(record.substr(0, 12), "\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22"s);
  EXPECT_EQ(record.substr(12, 24), kOneSecond + "\x1a\x0d" + "brain.Event:2");
  EXPECT_EQ(record.size(), 12u + 24u + 4u);
}

TEST(EventFileTest, NameHasSecondsHostAndProcessAndEventsAreThereAtOnce) {
  TemporaryDirectory directory;
  EventFile events(directory / "a/b");
  const std::string name = events.path().filename();
  EXPECT_EQ(name.find("events.out.tfevents."), 0u);
  EXPECT_TRUE(name.ends_with("." + std::to_string(::getpid()))) << name;
  EXPECT_NEAR(std::stod(name.substr(20, 10)), EventFile::now(), 2);
  EXPECT_EQ(fs::file_size(events.path()), 40u);
  events.scalar("a", 300, 0.5, 1.0);
  EXPECT_EQ(read_file(events.path()).substr(40),
            detail::tf_record(detail::scalar_event(1.0, 300, "a", 0.5F)));
}

TEST(EventFileTest, NameSortsBehindThatOfAClockThatWasAhead) {
  TemporaryDirectory directory;
  write_file(directory / "events.out.tfevents.9000000000.host.1", "");
  write_file(directory / "other", "");
  const EventFile first(directory.path());
  const EventFile second(directory.path());
  EXPECT_EQ(first.path().filename().string().substr(20, 11), "9000000001.");
  EXPECT_EQ(second.path().filename().string().substr(20, 11), "9000000002.");
}

TEST(EventFileTest, FullDiskAndUnusableDirectoryAreErrors) {
  TemporaryDirectory directory;
  EventFile events(directory / "events");
  {
    const FileSizeLimit limit(50);
    expect_error<IoError>([&] { events.scalar("loss", 1, 2.0); },
                          {"events.out.tfevents.", "File too large"});
  }
  write_file(directory / "file", "");
  expect_error<IoError>([&] { EventFile(directory / "file"); }, {"/file", "Not a directory"});
}

}  // namespace
}  // namespace shira
