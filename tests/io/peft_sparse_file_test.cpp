// PEFT's sparse files: what is tolerated, what is refused, and what our writer makes of one r for
// all layers.
#include "expect_error.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/peft_sparse_file.h>
#include <shira/io/safetensors.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shira {
namespace {

using ::testing::ElementsAre;

const ParameterShapes kShapes = {{"a.fc.weight", {2, 3}}, {"b.weight", {4, 8}}};

void write_config(const TemporaryDirectory& directory, const std::string& json) {
  write_file(directory / "adapter_config.json", json);
}

/// SHiRA with r = 1, so 5 entries, for the (2, 3) weight.
template <typename Index, typename Value>
PeftSparseFile read_shira(DType index_type, const std::vector<Index>& row_cols, DType value_type,
                          const std::vector<Value>& values) {
  TemporaryDirectory directory;
  write_config(directory, R"({"peft_type": "SHIRA", "r": 1, "target_modules": ["fc"]})");
  const std::string module = "base_model.model.a.fc.";
  write_safetensors(directory / "adapter_model.safetensors",
                    {{module + "shira_indices", index_type, {2, 5}, row_cols.data()},
                     {module + "shira_weight", value_type, {5}, values.data()}});
  return read_peft_sparse_file(directory.path(), kShapes);
}

TEST(PeftSparseFile, EntriesAreSortedAndThoseOfOnePositionAdded) {
  const std::vector<std::int64_t> row_cols = {1, 0, 1, 0, 1,   // rows
                                              2, 1, 2, 0, 0};  // columns
  const auto file = read_shira<std::int64_t, float>(DType::kI64, row_cols, DType::kF32,
                                                    {1.0f, 2.0f, 0.5f, 4.0f, 8.0f});
  ASSERT_EQ(file.tensors.size(), 1u);
  EXPECT_EQ(file.tensors[0].name, "a.fc.weight");
  EXPECT_THAT(file.tensors[0].indices, ElementsAre(0, 1, 3, 5));
  EXPECT_THAT(file.tensors[0].deltas, ElementsAre(4.0f, 2.0f, 8.0f, 1.5f));
}

TEST(PeftSparseFile, TwoByteValuesAndIndicesOfWindows) {
  const std::vector<float> row_cols = {0, 0, 0, 1, 1, 0, 1, 2, 0, 1};
  const auto bf16 = read_shira<float, std::uint16_t>(DType::kF32, row_cols, DType::kBF16,
                                                     {0x3f80, 0xc000, 0x0000, 0x3f00, 0x0001});
  EXPECT_THAT(bf16.tensors[0].deltas, ElementsAre(1.0f, -2.0f, 0.0f, 0.5f, 0x1p-133f));
  const auto f16 = read_shira<float, std::uint16_t>(DType::kF32, row_cols, DType::kF16,
                                                    {0x3c00, 0xc000, 0x7bff, 0x3555, 0x0001});
  EXPECT_THAT(f16.tensors[0].deltas, ElementsAre(1.0f, -2.0f, 65504.0f, 0x1.554p-2f, 0x1p-24f));
}

TEST(PeftSparseFile, NoFractionsNoInfinitiesNoSumsBeyondThem) {
  const auto read = [](std::vector<float> row_cols, std::vector<float> values) {
    return [=] { read_shira<float, float>(DType::kF32, row_cols, DType::kF32, values); };
  };
  const std::vector<float> places = {0, 0, 0, 0, 0, 0, 1, 2, 0, 1}, ones(5, 1.0f);
  expect_error<IoError>(read({0, 0, 0, 0, 0.5f, 0, 1, 2, 0, 1}, ones), {"a.fc", "0.5"});
  expect_error<IoError>(read({0, 0, 0, 0, NAN, 0, 1, 2, 0, 1}, ones), {"a.fc", "nan"});
  expect_error<IoError>(read(places, {1, 1, 1, 1, HUGE_VALF}), {"a.fc", "inf"});
  expect_error<IoError>(read(places, {3e38f, 1, 1, 3e38f, 1}), {"a.fc", "position 0", "inf"});
}

TEST(PeftSparseFile, WritingFillsEveryLayerToOneR) {
  TemporaryDirectory directory;
  // 5 of 32 entries need r = 1 in (4, 8); so do 2 of 6 in (2, 3), which has then 3 to be filled.
  const PeftSparseFile file{"base",
                            "wm",
                            {{"a.fc.weight", {2, 3}, {1, 4}, {0.5f, -2.0f}},
                             {"b.weight", {4, 8}, {0, 7, 8, 9, 31}, {1, 2, 3, 4, 0}}}};
  write_peft_shira_file(directory.path(), file, "CAUSAL_LM");

  const SafetensorsFile written(directory / "adapter_model.safetensors");
  const TensorView indices = written.view("base_model.model.a.fc.shira_indices");
  const TensorView values = written.view("base_model.model.a.fc.shira_weight");
  const auto* row_cols = reinterpret_cast<const std::int32_t*>(indices.data);
  const auto* deltas = reinterpret_cast<const float*>(values.data);
  EXPECT_THAT(std::vector(row_cols, row_cols + 10), ElementsAre(0, 1, 0, 0, 1,  //
                                                                1, 1, 0, 2, 0));
  EXPECT_THAT(std::vector(deltas, deltas + 5), ElementsAre(0.5f, -2.0f, 0, 0, 0));

  const PeftSparseFile again = read_peft_sparse_file(directory.path(), kShapes);
  EXPECT_EQ(again.mask_type, "wm");
  EXPECT_THAT(again.tensors[0].indices, ElementsAre(1, 4));
  EXPECT_THAT(again.tensors[1].indices, ElementsAre(0, 7, 8, 9, 31));
  EXPECT_THAT(again.tensors[1].deltas, ElementsAre(1, 2, 3, 4, 0));
}

TEST(PeftSparseFile, ACountThatHidesEntriesIsRefused) {
  TemporaryDirectory directory;
  write_config(directory, R"({"peft_type": "SHIRA", "r": 1})");
  const std::vector<std::int32_t> row_cols = {0, 0, 0, 1, 1, 0, 1, 2, 0, 1};
  const std::vector<float> values = {1, 2, 3, 0, 0};
  for (const char* count : {"2", "6", "-1", "x", ""}) {
    const std::string module = "base_model.model.a.fc.";
    write_safetensors(directory / "adapter_model.safetensors",
                      {{module + "shira_indices", DType::kI32, {2, 5}, row_cols.data()},
                       {module + "shira_weight", DType::kF32, {5}, values.data()}},
                      {{"nnz.a.fc.weight", count}});
    expect_error<IoError>([&] { read_peft_sparse_file(directory.path(), kShapes); },
                          {"a.fc.weight", "metadata count"});
  }
}

TEST(PeftShiraR, IsTheSmallestThatHoldsEveryLayer) {
  EXPECT_EQ(peft_shira_r({{"a.weight", {100, 100}, 1}}), 1);
  EXPECT_EQ(peft_shira_r({{"a.weight", {100, 100}, 200}, {"b.weight", {50, 50}, 201}}), 3);
  EXPECT_EQ(peft_shira_r({}), 1);
}

TEST(PeftShiraR, EveryReasonIsListed) {
  const std::vector<PeftTarget> targets = {
      {"conv.weight", {8, 8, 3, 3}, 1}, {"norm.weight", {8}, 1},
      {"fc.bias", {8, 8}, 1},           {"model.embed_tokens.weight", {8, 8}, 1},
      {"small.weight", {4, 4}, 1},      {"dense.weight", {100, 100}, 500}};
  expect_error<ShapeError>(
      [&] { peft_shira_r(targets); },
      {"conv.weight is a convolution", "norm.weight is no matrix", "fc.bias is no weight",
       "model.embed_tokens.weight is an embedding", "small.weight would need 24 of its 16 entries",
       "dense.weight with 500 entries needs r = 3"});
}

}  // namespace
}  // namespace shira
