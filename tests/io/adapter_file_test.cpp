// Records of targets that are not what the writer writes.
#include "expect_error.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/adapter_file.h>
#include <shira/io/atomic_file.h>
#include <shira/io/safetensors.h>

#include <gtest/gtest.h>

#include <cstring>

namespace shira {
namespace {

/// An adapter of one target `w` of 4 entries, 1 of them trained, with this record.
void write_adapter(const TemporaryDirectory& directory, const std::string& record) {
  const std::uint8_t value = 7, gap = 2;
  write_file(directory / "adapter_config.json", R"({"layout": "shira"})");
  write_safetensors(directory / "adapter_model.safetensors",
                    {{"w.restarts", DType::kI64, {0}, nullptr},
                     {"w.values", DType::kU8, {1}, &value},
                     {"w.gaps", DType::kU8, {1}, &gap}},
                    {{"format", "shira"},
                     {"format_version", "1"},
                     {"value_kind", "weights"},
                     {"base_dtype", "U8"},
                     {"base_model", "base"},
                     {"mask_type", "wm"},
                     {"target.w", record}});
}

void expect_refused(const std::string& record, std::string_view word) {
  TemporaryDirectory directory;
  write_adapter(directory, record);
  expect_error<IoError>([&] { read_adapter_file(directory.path()); }, {"tensor w", word});
}

TEST(AdapterFile, ARecordNamesShapeAndCount) {
  TemporaryDirectory directory;
  write_adapter(directory, R"({"shape": [2, 2], "nnz": 1})");
  const AdapterFileView adapter = read_adapter_file(directory.path());
  EXPECT_EQ(adapter.sparse.at(0).shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(decode_indices(adapter.sparse.at(0).positions), std::vector<std::int32_t>{2});
}

TEST(AdapterFile, SizesAreWholeNumbers) {
  expect_refused(R"({"shape": [2.5, 2], "nnz": 1})", "2.5 is no whole number");
  expect_refused(R"({"shape": [1e300], "nnz": 1})", "no whole number");
  expect_refused(R"({"shape": [true, 4], "nnz": 1})", "true is no whole number");
  expect_refused(R"({"shape": 4, "nnz": 1})", "the shape is no list");
  expect_refused(R"({"shape": [4], "nnz": 1.0})", "1.0 is no whole number");
}

TEST(AdapterFile, ShapesHoldTheirEntries) {
  expect_refused(R"({"shape": [0], "nnz": 1})", "impossible shape");
  expect_refused(R"({"shape": [65536, 65536], "nnz": 1})", "impossible shape");
  expect_refused(R"({"shape": [4], "nnz": 2})", "nnz = 2");
}

TEST(AdapterFile, TargetsHeldWholeAndRemovedOnesComeBack) {
  TemporaryDirectory directory;
  const std::int64_t step = 1000;
  const float values[] = {1.5F, 2.5F};
  const std::vector<std::int32_t> indices{1, 3};
  write_adapter_file(directory.path(), {{"weights", DType::kF32, "base", "diff"},
                                        {{"a.weight", {2, 2}, indices, DType::kF32, values, 7}},
                                        {{"step", DType::kI64, {}, &step}},
                                        {"b.weight"},
                                        {"step"}});
  const AdapterFileView adapter = read_adapter_file(directory.path());
  EXPECT_EQ(adapter.sparse.at(0).base_checksum, 7);
  ASSERT_EQ(adapter.whole.size(), 1);
  EXPECT_EQ(adapter.whole[0].name, "step");
  EXPECT_EQ(std::memcmp(adapter.whole[0].tensor.data, &step, sizeof(step)), 0);
  EXPECT_EQ(adapter.removed, std::vector<std::string>{"b.weight"});
  EXPECT_EQ(adapter.added, std::vector<std::string>{"step"});
}

TEST(AdapterFile, ATargetIsThereOnce) {
  TemporaryDirectory directory;
  const float value = 1.0F;
  write_adapter_file(
      directory.path(),
      {{"weights", DType::kF32, "base", "diff"}, {}, {{"a", DType::kF32, {1}, &value}}, {"a"}, {}});
  expect_error<IoError>([&] { read_adapter_file(directory.path()); }, {"tensor a", "twice"});
}

}  // namespace
}  // namespace shira
