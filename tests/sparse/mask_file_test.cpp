// Round trips, what others write, and what nobody should.
#include "io/expect_error.h"
#include "io/temporary_directory.h"

#include <shira/base/error.h>
#include <shira/sparse/mask_file.h>
#include <shira/sparse/mask_report.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

const std::map<std::string, std::string> kMaskMetadata = {
    {"format", "shira_masks"}, {"format_version", "1"}, {"shape.w", "2,3"}};

torch::Tensor positions(const std::vector<std::int32_t>& values) {
  return at::tensor(values, torch::kInt32);
}

/// Expects that a file of the tensor "w" is refused, naming both.
void expect_refused(const torch::Tensor& tensor, std::initializer_list<std::string_view> words,
                    const std::map<std::string, std::string>& metadata = kMaskMetadata) {
  TemporaryDirectory directory;
  save_tensors(directory / "masks", {{"w", tensor}}, metadata);
  expect_error<IoError>([&] { load_masks(directory / "masks"); }, {"masks: the mask \"w\""});
  expect_error<IoError>([&] { load_masks(directory / "masks"); }, words);
}

TEST(MaskFile, GivesBackEveryMask) {
  TemporaryDirectory directory;
  const MaskMap masks = {{"a.weight", SparseMask({2, 3}, positions({1, 5}))},
                         {"b.bias", SparseMask({4}, positions({3}))},
                         {"conv", SparseMask({2, 1, 2, 2}, positions({0, 7}))}};
  save_masks(directory / "masks", masks);
  const MaskMap loaded = load_masks(directory / "masks");
  ASSERT_EQ(loaded.size(), masks.size());
  for (const auto& [name, mask] : masks) {
    EXPECT_EQ(loaded.at(name).shape(), mask.shape());
    EXPECT_TRUE(loaded.at(name).indices().equal(mask.indices()));
  }
}

TEST(MaskFile, ReadsDenseMasksWithoutMetadata) {
  TemporaryDirectory directory;
  const torch::Tensor dense = at::tensor({0, 1, 0, 0, 0, 1}).view({2, 3});
  save_tensors(directory / "masks",
               {{"bool", dense.to(torch::kBool)}, {"bytes", (dense * 255).to(torch::kUInt8)}});
  for (const auto& [name, mask] : load_masks(directory / "masks")) {
    EXPECT_TRUE(mask.to_dense().equal(dense.to(torch::kBool))) << name;
  }
}

TEST(MaskFile, RefusesPositionsThatAreNoMask) {
  expect_refused(positions({5, 1}), {"sorted"});
  expect_refused(positions({1, 1}), {"unique"});
  expect_refused(positions({6}), {"below 6"});
  expect_refused(positions({-1}), {"Got -1"});
  expect_refused(positions({0, 1}).view({1, 2}), {"one-dimensional"});
  expect_refused(positions({}), {"no entry"});
  expect_refused(at::zeros({2, 3}, torch::kBool), {"no entry"});
  expect_refused(at::ones({2, 3}), {"F32", "BOOL or U8"});
}

TEST(MaskFile, RefusesPositionsWithoutTheirShape) {
  expect_refused(positions({1}), {"no \"format\"", "BOOL or U8"}, {});
  for (const char* key : {"format", "format_version", "shape.w"}) {
    auto metadata = kMaskMetadata;
    metadata.erase(key);
    expect_refused(positions({1}), {key}, metadata);
    metadata[key] = "pt";
    expect_refused(positions({1}), {"\"pt\""}, metadata);
  }
  for (const char* shape : {"", ",", "2,", "2,,3", "2;3", "2,x", "-2,3", "99999999999999999999"}) {
    auto metadata = kMaskMetadata;
    metadata["shape.w"] = shape;
    expect_refused(positions({1}), {"shape"}, metadata);
  }
  auto metadata = kMaskMetadata;
  metadata["shape.w"] = "65536,65536";
  expect_refused(positions({1}), {"2^31"}, metadata);
}

TEST(MaskReport, CountsWhatAMaskTouches) {
  // As a 3 x 4 matrix: (0, 1), (0, 3) and (2, 1).
  const MaskReport report = describe_mask(SparseMask({3, 2, 2}, positions({1, 3, 9})));
  EXPECT_EQ(report.nnz, 3);
  EXPECT_DOUBLE_EQ(report.density, 0.25);
  EXPECT_EQ(report.rows, 2);
  EXPECT_EQ(report.columns, 2);
  EXPECT_EQ(report.structural_rank, 2);
}

}  // namespace
}  // namespace shira
