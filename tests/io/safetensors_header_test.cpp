// Files made by hand to break the reader: every one must be refused with words that help.
#include "expect_error.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/safetensors.h>

#include <gtest/gtest.h>

#include <cstring>

namespace shira {
namespace {

/// A file of this header and so many bytes of data.
std::string file_of(const std::string& json, std::size_t data_size = 0) {
  const std::uint64_t length = json.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + json + std::string(data_size, 'd');
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string u8(const std::string& shape, const std::string& offsets) {
  return entry(R"("U8")", shape, offsets);
}

void expect_valid(const std::string& content) {
  TemporaryDirectory directory;
  write_file(directory / "x.safetensors", content);
  EXPECT_NO_THROW(SafetensorsFile(directory / "x.safetensors"));
}

void expect_refused(const std::string& content, std::initializer_list<std::string_view> words) {
  TemporaryDirectory directory;
  write_file(directory / "x.safetensors", content);
  const auto open = [&] { SafetensorsFile file(directory / "x.safetensors"); };
  expect_error<IoError>(open, {"x.safetensors"});
  expect_error<IoError>(open, words);
}

/// The same for one tensor "w" with this entry.
void expect_entry_refused(const std::string& json, std::size_t data_size,
                          std::initializer_list<std::string_view> words) {
  const std::string content = file_of(R"({"w":)" + json + "}", data_size);
  expect_refused(content, {"tensor \"w\""});
  expect_refused(content, words);
}

TEST(SafetensorsHeaderTest, ShorterThanItsLengthField) {
  expect_refused(std::string(7, '\0'), {"7 bytes", "at least 8"});
}

TEST(SafetensorsHeaderTest, HeaderLengthBeyondTheFileOrTheFormatsLimit) {
  const std::string file = file_of("{}");
  expect_refused(file.substr(0, 9), {"header of 2 bytes", "only 1 follow", "incomplete"});
  expect_refused(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10), {"18446744073709551615"});
  expect_refused(std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10), {"100000001", "at most 100000000"});
  expect_refused(std::string("\x00\xe1\xf5\x05\0\0\0\0{}", 10), {"100000000", "only 2 follow"});
}

TEST(SafetensorsHeaderTest, NotAJsonObject) {
  expect_refused(file_of(""), {"not a JSON object"});
  expect_refused(file_of("[]"), {"not a JSON object"});
  expect_refused(file_of("\xef\xbb\xbf{}"), {"not a JSON object"});
  expect_refused(file_of("{"), {"not valid JSON"});
  expect_refused(file_of("{} x"), {"not valid JSON"});
  expect_refused(file_of("{\"\xff\":1}"), {"not valid JSON"});
  expect_refused(file_of(std::string("{}\0", 3)), {"not valid JSON"});
}

TEST(SafetensorsHeaderTest, SpacesAfterTheObjectArePadding) { expect_valid(file_of("{}     ")); }

TEST(SafetensorsHeaderTest, DuplicateKeysAtAnyLevel) {
  const std::string w = u8("[1]", "[0,1]");
  expect_refused(file_of(R"({"w":)" + w + R"(,"w":)" + w + "}", 1), {"\"w\"", "twice"});
  expect_refused(
      file_of(R"({"w":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
      {"\"dtype\"", "twice"});
  expect_refused(file_of(R"({"__metadata__":{"a":"1","a":"2"}})"), {"\"a\"", "twice"});
  expect_refused(file_of(R"({"w":)" + w + R"(,"\u0077":)" + w + "}", 1), {"\"w\"", "twice"});
}

TEST(SafetensorsHeaderTest, NestingIsLimitedBeforeTheStackIs) {
  const std::string deep(10'000'000, '[');
  expect_refused(file_of(R"({"w":)" + deep), {"nests deeper"});
}

TEST(SafetensorsHeaderTest, EntryWithOtherFields) {
  const std::string expected = "dtype, shape and data_offsets, and nothing else";
  expect_entry_refused(R"({"dtype":"U8","shape":[1]})", 1, {expected});
  expect_entry_refused(R"({"shape":[1],"data_offsets":[0,1]})", 1, {expected});
  expect_entry_refused(R"({"dtype":"U8","data_offsets":[0,1]})", 1, {expected});
  expect_entry_refused(R"({"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1})", 1, {expected});
  expect_entry_refused("null", 0, {expected});
  expect_entry_refused("[0,1]", 0, {expected});
}

TEST(SafetensorsHeaderTest, FieldsOfTheWrongType) {
  expect_entry_refused(entry("1", "[1]", "[0,1]"), 1, {"dtype is not a string"});
  expect_entry_refused(u8("1", "[0,1]"), 1, {"shape is not a list"});
  expect_entry_refused(u8("{}", "[0,1]"), 1, {"shape is not a list"});
  expect_entry_refused(u8("[\"1\"]", "[0,1]"), 1, {"dimensions", "whole numbers"});
  expect_entry_refused(u8("[1]", "1"), 1, {"data_offsets", "two numbers"});
  expect_entry_refused(u8("[1]", "[0]"), 1, {"data_offsets", "two numbers"});
  expect_entry_refused(u8("[1]", "[0,1,1]"), 1, {"data_offsets", "two numbers"});
  expect_entry_refused(u8("[1]", "[0,\"1\"]"), 1, {"data_offsets", "whole numbers"});
  expect_entry_refused(u8("[1]", "[-1,0]"), 1, {"data_offsets", "whole numbers"});
  expect_entry_refused(u8("[1]", "[0,1.0]"), 1, {"data_offsets", "whole numbers"});
}

TEST(SafetensorsHeaderTest, UnknownDTypeNamesTheSupportedOnes) {
  expect_entry_refused(entry(R"("F4")", "[2]", "[0,1]"), 1,
                       {"\"F4\"", "F64 to F8, I64 to U8, C64 and BOOL"});
  expect_entry_refused(entry(R"("u8")", "[1]", "[0,1]"), 1, {"not supported"});
}

TEST(SafetensorsHeaderTest, DimensionsThatAreNoCounts) {
  for (const char* shape : {"[-1]", "[1.5]", "[1e0]", "[9223372036854775808]",
                            "[99999999999999999999999]", "[null]", "[[1]]", "[true]"}) {
    expect_entry_refused(u8(shape, "[0,1]"), 1, {"dimensions", "whole numbers"});
  }
}

TEST(SafetensorsHeaderTest, ShapesWhoseProductOverflows) {
  const std::string dtype = R"("F64")";
  expect_entry_refused(entry(dtype, "[4294967296,4294967296]", "[0,0]"), 0, {"63 bits"});
  expect_entry_refused(entry(dtype, "[2305843009213693952]", "[0,0]"), 0, {"63 bits"});
  expect_entry_refused(entry(dtype, "[9223372036854775807,9223372036854775807,0]", "[0,0]"), 0,
                       {"63 bits"});
}

TEST(SafetensorsHeaderTest, ByteRangeOfAnotherSize) {
  expect_entry_refused(entry(R"("F32")", "[2]", "[0,4]"), 4, {"has 4 bytes", "need 8"});
  expect_entry_refused(entry(R"("F32")", "[]", "[0,0]"), 0, {"has 0 bytes", "need 4"});
  expect_entry_refused(entry(R"("F32")", "[2,0]", "[0,4]"), 4, {"has 4 bytes", "need 0"});
}

TEST(SafetensorsHeaderTest, ByteRangeBackwardsOrBeyondTheFile) {
  expect_entry_refused(u8("[1]", "[1,0]"), 1, {"begin at 1", "end before that, at 0"});
  expect_entry_refused(u8("[2]", "[0,2]"), 1, {"end at 2", "only 1 bytes", "incomplete"});
  expect_entry_refused(u8("[9223372036854775807]", "[0,9223372036854775807]"), 1, {"only 1 bytes"});
}

TEST(SafetensorsHeaderTest, BytesOfTwoTensorsOrOfNone) {
  const auto two = [](const std::string& a, const std::string& b, std::size_t data_size) {
    return file_of(R"({"a":)" + a + R"(,"b":)" + b + "}", data_size);
  };
  expect_refused(two(u8("[2]", "[0,2]"), u8("[2]", "[1,3]"), 3), {"\"b\"", "inside the tensor"});
  expect_refused(two(u8("[2]", "[0,2]"), u8("[2]", "[0,2]"), 2), {"\"b\"", "inside the tensor"});
  expect_refused(two(u8("[2]", "[0,2]"), u8("[0]", "[1,1]"), 2), {"\"b\"", "inside the tensor"});
  expect_refused(two(u8("[1]", "[0,1]"), u8("[1]", "[2,3]"), 3),
                 {"\"b\"", "from 1 on", "no tensor"});
  expect_refused(two(u8("[1]", "[1,2]"), u8("[1]", "[2,3]"), 3),
                 {"\"a\"", "from 0 on", "no tensor"});
  expect_refused(two(u8("[1]", "[0,1]"), u8("[1]", "[1,2]"), 5), {"3 bytes after its last tensor"});
  expect_refused(file_of("{}", 1), {"1 bytes after its last tensor"});
  expect_valid(two(u8("[1]", "[2,3]"), u8("[2]", "[0,2]"), 3));
  expect_valid(two(u8("[0]", "[2,2]"), u8("[2]", "[0,2]"), 2));
}

TEST(SafetensorsHeaderTest, MetadataIsAMapOfStrings) {
  expect_refused(file_of(R"({"__metadata__":{"step":1}})"), {"__metadata__", "\"step\"", "string"});
  expect_refused(file_of(R"({"__metadata__":["x"]})"), {"__metadata__", "not an object"});
  expect_valid(file_of(R"({"__metadata__":{}})"));
}

TEST(SafetensorsHeaderTest, ErrorsPrintHostileNamesSafely) {
  expect_refused(file_of(R"({"\u001b[2J\u0000":1})"), {R"("\x1b[2J\x00")"});
  expect_refused(file_of("{\"" + std::string(10'000, 'n') + "\":1}"), {"nnn...\""});
}

}  // namespace
}  // namespace shira
