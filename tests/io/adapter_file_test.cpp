// Records of targets that are not what the writer writes.
#include "expect_error.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/adapter_file.h>
#include <shira/io/atomic_file.h>
#include <shira/io/safetensors.h>

#include <gtest/gtest.h>

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
  const AdapterFile adapter = read_adapter_file(directory.path());
  EXPECT_EQ(adapter.tensors.at(0).shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(adapter.tensors.at(0).indices, std::vector<std::int32_t>{2});
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

}  // namespace
}  // namespace shira
