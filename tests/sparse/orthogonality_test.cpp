#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/orthogonality.h>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <gtest/gtest.h>

#include <cmath>

namespace shira {
namespace {

/// The nonzeros of a dense matrix.
SparseTensor sparse(const torch::Tensor& dense) {
  const SparseMask mask = SparseMask::from_dense(dense.ne(0));
  return {mask, dense.reshape({-1}).index_select(0, mask.indices()), std::nullopt};
}

torch::Tensor matrix(std::initializer_list<double> values, std::int64_t columns) {
  return at::tensor(std::vector<double>(values), torch::kFloat64).view({-1, columns});
}

torch::Tensor random_sparse(std::int64_t rows, std::int64_t columns, double density) {
  return at::randn({rows, columns}, torch::kFloat64) *
         at::rand({rows, columns}, torch::kFloat64).lt(density);
}

/// The definition itself.
void expect_definition(const WeightChange& one, const WeightChange& other,
                       const torch::Tensor& first, const torch::Tensor& second) {
  const torch::Tensor product = first.t().mm(second);
  const double largest = at::linalg_svdvals(product).max().item<double>();
  const Orthogonality result = orthogonality(one, other);
  EXPECT_NEAR(result.spectral.value, largest, 1e-7 * largest);
  EXPECT_LE(std::abs(result.spectral.value - largest), result.spectral.error + 1e-10 * largest);
  EXPECT_NEAR(result.frobenius, product.norm().item<double>(), 1e-10 * largest);
  EXPECT_EQ(result.nonzeros, product.abs().gt(1e-12).sum().item<std::int64_t>());
  EXPECT_EQ(result.entries, product.numel());
}

// [1 0; 0 1]^T [3 0; 0 4] = diag(3, 4)
TEST(Orthogonality, OfDiagonalChanges) {
  const Orthogonality result =
      orthogonality(sparse(matrix({1, 0, 0, 1}, 2)), sparse(matrix({3, 0, 0, 4}, 2)));
  EXPECT_NEAR(result.spectral.value, 4, 1e-14);
  EXPECT_NEAR(result.frobenius, 5, 1e-14);
  EXPECT_EQ(result.nonzeros, 2);
  EXPECT_EQ(result.ratio(), 0.5);
}

// [1 2; 0 0]^T [3 0; 0 4] = [3 0; 6 0]: one singular value, sqrt(45)
TEST(Orthogonality, OfChangesThatShareARow) {
  const Orthogonality result =
      orthogonality(sparse(matrix({1, 2, 0, 0}, 2)), sparse(matrix({3, 0, 0, 4}, 2)));
  EXPECT_NEAR(result.spectral.value, std::sqrt(45.0), 1e-14);
  EXPECT_NEAR(result.frobenius, std::sqrt(45.0), 1e-14);
  EXPECT_EQ(result.ratio(), 0.5);
}

// Rows of the changes: 1 has the first two, 2 the third.
TEST(Orthogonality, OfChangesInOtherRowsIsPerfect) {
  const Orthogonality result = orthogonality(sparse(matrix({1, 2, 3, 0, 4, 5, 0, 0, 0}, 3)),
                                             sparse(matrix({0, 0, 0, 0, 0, 0, 7, 8, 9}, 3)));
  EXPECT_EQ(result.spectral.value, 0);
  EXPECT_EQ(result.frobenius, 0);
  EXPECT_EQ(result.nonzeros, 0);
  EXPECT_EQ(result.ratio(), 1);
}

// Column i of [1; 1] meets column j of [1; -1] in two rows, whose terms cancel; a stored zero meets
// nothing.
TEST(Orthogonality, CountsStructureNotCancellation) {
  EXPECT_EQ(orthogonality(sparse(matrix({1, 1}, 1)), sparse(matrix({1, -1}, 1))).nonzeros, 1);
  SparseTensor untouched = sparse(matrix({1, 1}, 1));
  untouched.values = at::zeros({2});
  EXPECT_EQ(orthogonality(untouched, untouched).nonzeros, 0);
}

TEST(Orthogonality, OfSparseChangesIsThatOfTheDenseProduct) {
  at::manual_seed(1);
  const torch::Tensor first = random_sparse(40, 50, 0.05);
  const torch::Tensor second = random_sparse(40, 50, 0.05);
  expect_definition(sparse(first), sparse(second), first, second);
}

// More columns than are decomposed: the spectral norm is iterated.
TEST(Orthogonality, OfManyColumnsIsThatOfTheDenseProduct) {
  at::manual_seed(2);
  for (const std::int64_t rows : {200, 700}) {
    const torch::Tensor first = random_sparse(rows, 600, 0.02);
    const torch::Tensor second = random_sparse(rows, 600, 0.02);
    expect_definition(sparse(first), sparse(second), first, second);
    const torch::Tensor none = at::zeros({rows, 600});
    EXPECT_EQ(orthogonality(sparse(first), sparse(none)).spectral.value, 0);
  }
}

TEST(Orthogonality, OfDenseChangesIsThatOfTheDenseProduct) {
  at::manual_seed(3);
  for (const std::int64_t columns : {30, 520}) {
    const torch::Tensor first = at::randn({20, columns}, torch::kFloat64);
    const torch::Tensor second = random_sparse(20, columns, 0.02);
    expect_definition(first, second, first, second);
    expect_definition(first, sparse(second), first, second);
  }
}

// A zero column of A and a zero row of B are seen in the count.
TEST(Orthogonality, OfLowRankChangesIsThatOfTheirProducts) {
  at::manual_seed(4);
  const auto low_rank = [](double scale) {
    LowRank low{at::randn({30, 3}, torch::kFloat64), at::randn({3, 40}, torch::kFloat64), scale};
    low.a.slice(1, 5, 9).zero_();
    low.b.slice(0, 2, 4).zero_();
    return low;
  };
  const LowRank first = low_rank(2.0);
  const LowRank second = low_rank(-0.5);
  const torch::Tensor one = 2.0 * first.b.mm(first.a);
  const torch::Tensor other = -0.5 * second.b.mm(second.a);
  expect_definition(first, second, one, other);
  expect_definition(first, other, one, other);
  expect_definition(one, second, one, other);
  const torch::Tensor third = random_sparse(30, 40, 0.03);
  expect_definition(first, sparse(third), one, third);
  expect_definition(sparse(third), second, third, other);
}

// Factors so sparse that many entries of the product are zero.
TEST(Orthogonality, CountsTheZerosOfSparseFactors) {
  at::manual_seed(5);
  const LowRank first{random_sparse(60, 6, 0.1), random_sparse(6, 300, 0.2)};
  const LowRank second{random_sparse(60, 6, 0.1), random_sparse(6, 300, 0.2)};
  const Orthogonality result = orthogonality(first, second);
  EXPECT_GT(result.ratio(), 0.3);
  expect_definition(first, second, first.b.mm(first.a), second.b.mm(second.a));
}

// Lemma 4.5: (D1 + S1)^T (D2 + S2), S1 and S2 in 2 rows each that are not shared. Both diagonals
// give 9 entries, the rows of S1 fill theirs, those of S2 theirs; on the diagonal they meet.
TEST(Orthogonality, OfStructMasksWithOtherRowsIsNearlyPerfect) {
  const auto change = [](std::int64_t offset) {
    const SparseMask mask =
        struct_mask({.density = 0.3}, StructAxis::kRow, offset)("w", at::empty({9, 9}));
    return SparseTensor{mask, at::ones({mask.nnz()}), std::nullopt};
  };
  EXPECT_EQ(orthogonality(change(0), change(1)).nonzeros, 9 + 4 * 8 - 2 * 2);
  EXPECT_EQ(orthogonality(change(0), change(0)).nonzeros, 81);
}

TEST(Orthogonality, TakesAConvolutionAsAMatrixAndAnyDtype) {
  const torch::Tensor first = at::arange(24).view({2, 3, 2, 2});
  const torch::Tensor flat = first.view({2, 12}).to(torch::kFloat64);
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    expect_definition(sparse(first.to(dtype)), first.to(dtype), flat, flat);
  }
}

TEST(Orthogonality, IsTheSameOnAnyNumberOfThreads) {
  at::manual_seed(6);
  const SparseTensor first = sparse(random_sparse(300, 2000, 0.02));
  const SparseTensor second = sparse(random_sparse(300, 2000, 0.02));
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Orthogonality serial = orthogonality(first, second);
  at::set_num_threads(3);
  const Orthogonality parallel = orthogonality(first, second);
  at::set_num_threads(threads);
  EXPECT_EQ(parallel.frobenius, serial.frobenius);
  EXPECT_EQ(parallel.nonzeros, serial.nonzeros);
  EXPECT_NEAR(parallel.spectral.value, serial.spectral.value, 1e-10 * serial.spectral.value);
}

TEST(Orthogonality, RefusesWhatCannotBeCompared) {
  const torch::Tensor dense = at::ones({2, 3});
  expect_error<ShapeError>([&] { orthogonality(dense, at::ones({3, 2})); }, {"2 x 3", "3 x 2"});
  expect_error<ShapeError>([&] { orthogonality(dense, dense / 0); }, {"not finite"});
  expect_error<ShapeError>([&] { orthogonality(LowRank{dense, dense}, dense); }, {"[2, 3]"});
  expect_error<ShapeError>([&] { orthogonality(at::ones({0, 3}), dense); }, {"[0, 3]"});
  SparseTensor cut = sparse(dense);
  cut.values = at::ones({5});
  expect_error<ShapeError>([&] { orthogonality(cut, cut); }, {"6 entries", "5 values"});
}

TEST(SpectralNorm, OfAFunctionEndsWhenNothingNewIsLeft) {
  const torch::Tensor row = at::arange(1, 101).to(torch::kFloat64);  // rank one: ||row||^2
  const SpectralNorm norm =
      spectral_norm(100, [&](const torch::Tensor& x) { return row * row.dot(x); });
  EXPECT_NEAR(norm.value, std::sqrt(338350.0), 1e-10);  // the sum of squares up to 100
  EXPECT_LT(norm.error, 1e-6);
}

TEST(ProductBlocks, OfSparseChangesAreThoseOfTheDenseProduct) {
  at::manual_seed(7);
  const torch::Tensor first = random_sparse(8, 12, 0.3);
  const torch::Tensor second = random_sparse(8, 12, 0.3);
  const ProductBlocks blocks = product_blocks(sparse(first), sparse(second), 5);
  EXPECT_EQ(blocks.side, 3);
  EXPECT_EQ(blocks.width, 4);
  const torch::Tensor means =
      first.t().mm(second).square().view({4, 3, 4, 3}).mean({1, 3}).sqrt().view({-1});
  EXPECT_TRUE(at::tensor(blocks.values, torch::kFloat64).allclose(means));
}

}  // namespace
}  // namespace shira
