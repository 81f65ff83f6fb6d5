// Masks and the builders: counts, order, ties, and the same numbers everywhere.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/sparse_mask.h>

#include <ATen/Functions.h>
#include <torch/types.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

torch::Tensor int32(std::initializer_list<std::int32_t> values) {
  return at::tensor(std::vector<std::int32_t>(values), torch::kInt32);
}

std::vector<std::int32_t> as_vector(const torch::Tensor& indices) {
  const auto* first = indices.const_data_ptr<std::int32_t>();
  return {first, first + indices.numel()};
}

TEST(SparseMask, KeepsShapeAndIndices) {
  const SparseMask mask({2, 3}, int32({1, 5}));
  EXPECT_EQ(mask.nnz(), 2);
  EXPECT_DOUBLE_EQ(mask.density(), 2.0 / 6.0);
  EXPECT_TRUE(mask.to_dense().equal(at::tensor({0, 1, 0, 0, 0, 1}).to(torch::kBool).view({2, 3})));
  EXPECT_TRUE(SparseMask::from_dense(mask.to_dense()).indices().equal(mask.indices()));
}

TEST(SparseMask, RefusesWhatScatterCouldNotTrust) {
  expect_error<ShapeError>([] { SparseMask({2, 3}, int32({1, 1})); }, {"unique", "Got 1 after 1"});
  expect_error<ShapeError>([] { SparseMask({2, 3}, int32({4, 2})); }, {"sorted"});
  expect_error<ShapeError>([] { SparseMask({2, 3}, int32({6})); }, {"below 6"});
  expect_error<ShapeError>([] { SparseMask({2, 3}, int32({-1})); }, {"Got -1"});
  expect_error<ShapeError>([] { SparseMask({1 << 16, 1 << 15}, int32({0})); }, {"2^31"});
  expect_error<ShapeError>([] { SparseMask({2}, at::zeros({1}, torch::kInt64)); }, {"int32"});
}

TEST(MaskBudget, CountsAsTheDesignSays) {
  EXPECT_EQ(mask_nnz({.density = 0.01}, {100, 50}), 50);
  EXPECT_EQ(mask_nnz({.density = 1e-9}, {4, 4}), 1);  // at least one
  EXPECT_EQ(mask_nnz({.r = 2}, {100, 50}), 300);
  EXPECT_EQ(mask_nnz({.r = 1}, {8, 4, 3, 3}), 8 + 36);  // a convolution
  expect_error<ConfigError>([] { mask_nnz({}, {4, 4}); }, {"exactly one"});
  expect_error<ConfigError>([] { mask_nnz({.r = 3}, {4, 4}); }, {"24", "16"});
}

TEST(RandMask, IsExactSeededAndDifferentForEachName) {
  const MaskBuilder builder = rand_mask({.density = 0.1}, 7);
  const torch::Tensor weight = at::zeros({20, 30});
  const SparseMask mask = builder("a.weight", weight);
  EXPECT_EQ(mask.nnz(), 60);
  EXPECT_TRUE(builder("a.weight", weight).indices().equal(mask.indices()));
  EXPECT_FALSE(builder("b.weight", weight).indices().equal(mask.indices()));
  const MaskBuilder other_seed = rand_mask({.density = 0.1}, 8);
  EXPECT_FALSE(other_seed("a.weight", weight).indices().equal(mask.indices()));
}

TEST(WmMask, TakesTheLargestMagnitudesTiesByLowerIndex) {
  const torch::Tensor weight = at::tensor({1.0, -4.0, 3.0, 3.0, -3.0, 0.5}).view({2, 3});
  const auto band = [&](std::int64_t k) {
    return as_vector(wm_mask({.density = 1.0 / 3.0}, k)("w", weight).indices());
  };
  EXPECT_EQ(band(0), (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(band(1), (std::vector<std::int32_t>{3, 4}));
  EXPECT_EQ(band(2), (std::vector<std::int32_t>{0, 5}));
  expect_error<ConfigError>([&] { band(3); }, {"shira_wm_band"});
}

TEST(WmMask, IsTheSameForABfloat16WeightAndItsFloat32Cast) {
  const torch::Tensor weight = at::randn({33, 17}).to(torch::kBFloat16);
  const MaskBuilder builder = wm_mask({.density = 0.05});
  EXPECT_TRUE(
      builder("w", weight).indices().equal(builder("w", weight.to(torch::kFloat32)).indices()));
}

}  // namespace
}  // namespace shira
