// Masks and the builders: counts, order, ties, and the same numbers everywhere.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/kernels/parallel.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/sparse_mask.h>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/types.h>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

namespace shira {
namespace {

torch::Tensor int32(std::initializer_list<std::int32_t> values) {
  return at::tensor(std::vector<std::int32_t>(values), torch::kInt32);
}

using Indices = std::vector<std::int32_t>;

Indices as_vector(const torch::Tensor& indices) {
  const auto* first = indices.const_data_ptr<std::int32_t>();
  return {first, first + indices.numel()};
}

using Rows = std::vector<std::string>;

/// A mask as a picture: one string a row, x where an entry is chosen.
Rows as_rows(const MaskBuilder& builder, at::IntArrayRef shape) {
  const SparseMask mask = builder("w", at::empty(shape));
  const std::int64_t columns = mask.numel() / shape[0];
  Rows rows(static_cast<std::size_t>(shape[0]),
            std::string(static_cast<std::size_t>(columns), '.'));
  for (const std::int32_t index : as_vector(mask.indices())) {
    rows[std::size_t(index / columns)][std::size_t(index % columns)] = 'x';
  }
  return rows;
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

TEST(WmMask, NamesTheTensorThatHoldsANaN) {
  const torch::Tensor weight = at::full({2, 3}, NAN);
  expect_error<ShapeError>([&] { wm_mask({.density = 0.5})("q.weight", weight); },
                           {"q.weight", "NaN at index 0"});
}

TEST(WmMask, IsTheSameOnAnyNumberOfThreads) {
  const torch::Tensor weight = at::randn({1000, 1001});
  const MaskBuilder builder = wm_mask({.density = 0.01}, /*band=*/1);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const SparseMask serial = builder("w", weight);
  for (const int several : {2, 3}) {
    at::set_num_threads(several);
    EXPECT_TRUE(builder("w", weight).indices().equal(serial.indices())) << several;
  }
  at::set_num_threads(threads);
}

TEST(ParallelChunks, RunOnAsManyThreadsAsLibTorch) {
  const int threads = at::get_num_threads();
  at::set_num_threads(3);
  std::atomic<int> arrived = 0;
  parallel_chunks(3, 1, [&](std::int64_t, std::int64_t, std::int64_t) {
    ++arrived;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (arrived < 3 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    EXPECT_EQ(arrived, 3) << "the others did not start beside this one";
  });
  at::set_num_threads(threads);
}

TEST(WmMask, IsTheSameForABfloat16WeightAndItsFloat32Cast) {
  const torch::Tensor weight = at::randn({33, 17}).to(torch::kBFloat16);
  const MaskBuilder builder = wm_mask({.density = 0.05});
  EXPECT_TRUE(
      builder("w", weight).indices().equal(builder("w", weight.to(torch::kFloat32)).indices()));
}

TEST(MaskOfLargest, RanksAnyDtypeAndSkipsTheFirst) {
  const torch::Tensor scores = at::tensor({0.5, 3.0, 1.0, 2.0}).view({2, 2});
  for (const auto dtype : {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16}) {
    EXPECT_EQ(as_vector(mask_of_largest(scores.to(dtype), 2).indices()), (Indices{1, 3}));
    EXPECT_EQ(as_vector(mask_of_largest(scores.to(dtype), 2, 1).indices()), (Indices{2, 3}));
  }
  EXPECT_EQ(as_vector(mask_of_largest(scores.t(), 2).indices()), (Indices{2, 3}));  // strided
}

TEST(StructMask, IsWholeRowsAndTheDiagonal) {
  // nnz = 16: (16 - 4) / 8 = 1.5, so 2 rows, 0 and 2; the diagonal steps by two columns.
  EXPECT_EQ(as_rows(struct_mask({.density = 0.5}), {4, 8}), (Rows{"xxxxxxxx",  //
                                                                  "..x.....",  //
                                                                  "xxxxxxxx",  //
                                                                  "......x."}));
  // nnz = 6: (6 - 6) / 3 = 0, but at least 1 row; a tall diagonal repeats columns.
  EXPECT_EQ(as_rows(struct_mask({.density = 1.0 / 3.0}), {6, 3}),
            (Rows{"xxx", "x..", ".x.", ".x.", "..x", "..x"}));
  // nnz = 10: (10 - 4) / 4 = 1.5, so 2 rows.
  EXPECT_EQ(as_rows(struct_mask({.density = 0.625}), {4, 4}),
            (Rows{"xxxx", ".x..", "xxxx", "...x"}));
}

TEST(StructMask, IsWholeColumnsAndTheDiagonal) {
  // nnz = 16: (16 - 4) / 4 = 3 columns of 8: 0, 8 / 3 and 16 / 3.
  EXPECT_EQ(as_rows(struct_mask({.density = 0.5}, StructAxis::kColumn), {4, 8}),
            (Rows{"x.x..x..", "x.x..x..", "x.x.xx..", "x.x..xx."}));
  EXPECT_EQ(as_rows(struct_mask({.density = 0.5}, StructAxis::kColumn, 6), {4, 8}),
            (Rows{"x..x..x.", "x.xx..x.", "x..xx.x.", "x..x..x."}));
}

TEST(StructMask, OffsetsShiftTheRowsSoThatMasksShareTheDiagonalAlone) {
  const auto dense = [](std::int64_t offset) {
    return struct_mask({.density = 0.3}, StructAxis::kRow, offset)("w", at::empty({9, 9}))
        .to_dense();
  };
  // nnz = 24: (24 - 9) / 9, so 2 rows: 0 and 4; 1 and 5; 8 and 3.
  EXPECT_EQ(as_rows(struct_mask({.density = 0.3}, StructAxis::kRow, 8), {9, 9})[3], "xxxxxxxxx");
  EXPECT_TRUE((dense(0) & dense(1)).equal(at::eye(9, torch::kBool)));
  EXPECT_TRUE((dense(1) & dense(8)).equal(at::eye(9, torch::kBool)));
  EXPECT_TRUE(dense(9).equal(dense(0)));
}

TEST(StructMask, TakesAConvolutionAsAMatrix) {
  const SparseMask flat = struct_mask({.density = 0.3})("w", at::empty({6, 36}));
  const SparseMask convolution = struct_mask({.density = 0.3})("w", at::empty({6, 4, 3, 3}));
  EXPECT_TRUE(convolution.indices().equal(flat.indices()));
  EXPECT_EQ(convolution.shape(), (std::vector<std::int64_t>{6, 4, 3, 3}));
}

TEST(StructMask, IsNearTheBudgetForALargeTensor) {
  // nnz = 167772: 4096 on the diagonal, 40 rows of 4096, 40 entries in both.
  EXPECT_EQ(struct_mask({.density = 0.01})("w", at::empty({4096, 4096})).nnz(),
            4096 + 40 * 4096 - 40);
}

TEST(StructMask, RefusesVectorsAndNegativeOffsets) {
  expect_error<ConfigError>([] { struct_mask({.density = 0.5})("b", at::empty({4})); },
                            {"b", "matrix"});
  expect_error<ConfigError>([] { struct_mask({.density = 0.5}, StructAxis::kRow, -1); },
                            {"shira_struct_offset", "-1"});
}

TEST(GivenMask, IsTheOneOfThatNameAndShape) {
  const MaskBuilder builder = given_mask({{"a", SparseMask({2, 3}, int32({1, 5}))}});
  EXPECT_EQ(as_vector(builder("a", at::empty({2, 3})).indices()), (Indices{1, 5}));
  expect_error<ConfigError>([&] { builder("b", at::empty({2, 3})); }, {"no mask for b"});
  expect_error<ShapeError>([&] { builder("a", at::empty({3, 2})); }, {"a is [3, 2]", "[2, 3]"});
}

}  // namespace
}  // namespace shira
