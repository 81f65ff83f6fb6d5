// Reading and writing whole files; what a damaged header meets is in safetensors_header_test.cpp.
#include "expect_error.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/safetensors.h>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <vector>

namespace shira {
namespace {

constexpr std::array<float, 6> kFloats{1.5f, -2.0f, 0.0f, -0.0f, 1e-40f, 3e38f};
constexpr std::array<std::int64_t, 2> kIntegers{-1, 1LL << 40};

std::string bytes_of(const TensorView& view) {
  return {reinterpret_cast<const char*>(view.data), view.byte_size};
}

template <typename Array>
std::string bytes_of(const Array& array) {
  return {reinterpret_cast<const char*>(array.data()), sizeof(array)};
}

TEST(SafetensorsTest, WhatWasWrittenIsReadBack) {
  TemporaryDirectory directory;
  write_safetensors(directory / "a.safetensors",
                    {{"weight", DType::kF32, {2, 3}, kFloats.data()},
                     {"count", DType::kI64, {2}, kIntegers.data()}},
                    {{"format", "pt"}, {"note", "caf\xc3\xa9 \"quoted\"\n"}});
  const SafetensorsFile file(directory / "a.safetensors");
  EXPECT_EQ(file.names(), (std::vector<std::string>{"count", "weight"}));
  EXPECT_EQ(file.metadata().at("note"), "caf\xc3\xa9 \"quoted\"\n");
  EXPECT_EQ(file.metadata().size(), 2u);
  const TensorView weight = file.view("weight");
  EXPECT_EQ(weight.dtype, DType::kF32);
  EXPECT_EQ(weight.shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(bytes_of(weight), bytes_of(kFloats));
  EXPECT_EQ(bytes_of(file.view("count")), bytes_of(kIntegers));
}

TEST(SafetensorsTest, EveryDTypeSurvives) {
  TemporaryDirectory directory;
  const std::array<std::uint64_t, 2> data{0x0123456789abcdef, 0xfedcba9876543210};
  for (const DType dtype : {DType::kF64, DType::kF32, DType::kF16, DType::kBF16, DType::kI64,
                            DType::kI32, DType::kU8, DType::kBool}) {
    write_safetensors(directory / "a", {{"x", dtype, {2}, data.data()}});
    const SafetensorsFile file(directory / "a");
    EXPECT_EQ(file.view("x").dtype, dtype);
    EXPECT_EQ(file.view("x").byte_size, 2 * item_size(dtype));
    EXPECT_EQ(bytes_of(file.view("x")), bytes_of(data).substr(0, 2 * item_size(dtype)));
  }
}

TEST(SafetensorsTest, ScalarsAndEmptyTensorsAreValid) {
  TemporaryDirectory directory;
  write_safetensors(directory / "a", {{"empty", DType::kF32, {3, 0}, nullptr},
                                      {"scalar", DType::kF32, {}, kFloats.data()},
                                      {"none", DType::kU8, {0}, nullptr}});
  const SafetensorsFile file(directory / "a");
  EXPECT_EQ(file.view("empty").shape, (std::vector<std::int64_t>{3, 0}));
  EXPECT_EQ(file.view("empty").byte_size, 0u);
  EXPECT_EQ(file.view("none").byte_size, 0u);
  EXPECT_TRUE(file.view("scalar").shape.empty());
  EXPECT_EQ(file.view("scalar").byte_size, 4u);
}

TEST(SafetensorsTest, AFileWithoutTensorsIsValid) {
  TemporaryDirectory directory;
  write_safetensors(directory / "a", {});
  EXPECT_TRUE(SafetensorsFile(directory / "a").names().empty());
}

TEST(SafetensorsTest, BytesOnDiskAreTheFormatsAndAligned) {
  TemporaryDirectory directory;
  write_safetensors(directory / "a", {{"z", DType::kU8, {3}, "abc"}, {"b", DType::kU8, {1}, "d"}},
                    {{"k", "v"}});
  std::string json =
      R"({"__metadata__":{"k":"v"},"z":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},)"
      R"("b":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}})";
  json.resize(184, ' ');  // 8 + 184 = 3 * 64
  EXPECT_EQ(read_file(directory / "a"), std::string("\xb8\0\0\0\0\0\0\0", 8) + json + "abcd");
}

TEST(SafetensorsTest, AViewOutlivesItsFile) {
  TemporaryDirectory directory;
  write_safetensors(directory / "a", {{"x", DType::kF32, {6}, kFloats.data()}});
  const TensorView view = SafetensorsFile(directory / "a").view("x");
  std::filesystem::remove(directory / "a");
  EXPECT_EQ(bytes_of(view), bytes_of(kFloats));
}

TEST(SafetensorsTest, ReplacingAFileLeavesItsOldViewsIntact) {
  TemporaryDirectory directory;
  write_safetensors(directory / "a", {{"x", DType::kU8, {1}, "1"}});
  const TensorView old = SafetensorsFile(directory / "a").view("x");
  write_safetensors(directory / "a", {{"x", DType::kU8, {1}, "2"}});
  EXPECT_EQ(bytes_of(old), "1");
  EXPECT_EQ(bytes_of(SafetensorsFile(directory / "a").view("x")), "2");
}

TEST(SafetensorsTest, AnAbsentTensorIsAnErrorThatNamesIt) {
  TemporaryDirectory directory;
  write_safetensors(directory / "a", {});
  const SafetensorsFile file(directory / "a");
  EXPECT_FALSE(file.contains("lm_head.weight"));
  expect_error<IoError>([&] { file.view("lm_head.weight"); }, {"/a", "lm_head.weight"});
}

TEST(SafetensorsTest, ErrorsInTheHeaderNameTheFile) {
  TemporaryDirectory directory;
  write_file(directory / "broken", "short");
  expect_error<IoError>([&] { SafetensorsFile(directory / "broken"); }, {"/broken", "5 bytes"});
  write_file(directory / "nothing", "");
  expect_error<IoError>([&] { SafetensorsFile(directory / "nothing"); }, {"/nothing", "0 bytes"});
}

TEST(SafetensorsTest, OnlyRegularFilesAreRead) {
  TemporaryDirectory directory;
  expect_error<IoError>([&] { SafetensorsFile(directory / "absent"); },
                        {"/absent", "No such file"});
  expect_error<IoError>([&] { SafetensorsFile(directory.path()); }, {"directory"});
  ASSERT_EQ(::mkfifo((directory / "pipe").c_str(), 0600), 0);
  expect_error<IoError>([&] { SafetensorsFile(directory / "pipe"); }, {"not a regular file"});
}

TEST(SafetensorsTest, WhatCannotBeWrittenLeavesNoFile) {
  TemporaryDirectory directory;
  const auto write = [&](std::vector<TensorBytes> tensors) {
    return [&, tensors] { write_safetensors(directory / "a", tensors); };
  };
  expect_error<IoError>(write({{"x", DType::kU8, {1}, "1"}, {"x", DType::kU8, {1}, "2"}}),
                        {"/a", "\"x\" twice"});
  expect_error<IoError>(write({{"__metadata__", DType::kU8, {1}, "1"}}), {"__metadata__"});
  expect_error<IoError>(write({{"\xff", DType::kU8, {1}, "1"}}), {"not UTF-8"});
  expect_error<ShapeError>(write({{"x", DType::kU8, {-1}, "1"}}), {"\"x\"", "negative"});
  expect_error<ShapeError>(write({{"x", DType::kU8, {1}, nullptr}}), {"\"x\"", "no data"});
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(SafetensorsTest, TensorByTensorIsTheSameFile) {
  TemporaryDirectory directory;
  const std::map<std::string, std::string> metadata{{"format", "pt"}};
  write_safetensors(directory / "a", {{"x", DType::kI16, {1}, "12"}, {"y", DType::kU8, {0}, ""}},
                    metadata);
  {
    SafetensorsWriter writer(directory / "b", {{"x", DType::kI16, {1}}, {"y", DType::kU8, {0}}},
                             metadata);
    writer.write("12", 2);
    writer.write(nullptr, 0);
    EXPECT_FALSE(std::filesystem::exists(directory / "b"));
    writer.commit();
  }
  EXPECT_EQ(read_file(directory / "a"), read_file(directory / "b"));
}

TEST(SafetensorsTest, TensorByTensorLeavesNothingUnlessComplete) {
  TemporaryDirectory directory;
  {
    SafetensorsWriter writer(directory / "a", {{"x", DType::kI16, {1}}, {"y", DType::kU8, {1}}});
    expect_error<ShapeError>([&] { writer.write("123", 3); }, {"\"x\"", "3 bytes", "expected 2"});
    expect_error<ShapeError>([&] { writer.commit(); }, {"1 of 2 tensors"});
    writer.write("1", 1);
    expect_error<ShapeError>([&] { writer.write("1", 1); }, {"after the last"});
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(SafetensorsTest, DroppedPagesAreReadAgain) {
  TemporaryDirectory directory;
  const std::string bytes(100'000, 'x');
  write_safetensors(directory / "a", {{"x", DType::kU8, {100'000}, bytes.data()}});
  const SafetensorsFile file(directory / "a");
  const TensorView view = file.view("x");
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{5000}, bytes.size()}) {
    drop_pages(view.data, size);
    EXPECT_EQ(std::memcmp(view.data, bytes.data(), bytes.size()), 0);
  }
}

}  // namespace
}  // namespace shira
