#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/kernels/philox.h>
#include <shira/kernels/sparse_product.h>

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace shira {
namespace {

using Indices = std::vector<std::int32_t>;
using Values = std::vector<double>;

/// The entries of a row-major matrix that are not zero.
SparseRows from_dense(std::int64_t rows, std::int64_t columns, const Values& dense) {
  Indices indices(dense.size());
  for (std::size_t i = 0; i < dense.size(); ++i) indices[i] = static_cast<std::int32_t>(i);
  return sparse_rows(rows, columns, indices, dense);
}

Values random_dense(std::int64_t rows, std::int64_t columns, double density, const char* name) {
  PhiloxStream stream(1, name);
  Values dense(static_cast<std::size_t>(rows * columns));
  for (double& value : dense) {
    if (stream.next_double() < density) value = stream.next_double() - 0.5;
  }
  return dense;
}

/// left (p, n) * right (n, q) by three loops.
Values dense_product(const Values& left, const Values& right, std::size_t p, std::size_t n,
                     std::size_t q) {
  Values product(p * q);
  for (std::size_t i = 0; i < p; ++i) {
    for (std::size_t k = 0; k < n; ++k) {
      for (std::size_t j = 0; j < q; ++j) product[i * q + j] += left[i * n + k] * right[k * q + j];
    }
  }
  return product;
}

// [1 0 2; 0 0 3]
TEST(SparseRows, LeavesZerosOut) {
  const SparseRows matrix = from_dense(2, 3, {1, 0, 2, 0, 0, 3});
  EXPECT_EQ(matrix.row_begin, (std::vector<std::int64_t>{0, 2, 3}));
  EXPECT_EQ(matrix.columns_of, (Indices{0, 2, 2}));
  EXPECT_EQ(matrix.values, (Values{1, 2, 3}));
  const SparseRows turned = transposed(matrix);
  EXPECT_EQ(turned.row_begin, (std::vector<std::int64_t>{0, 1, 1, 3}));
  EXPECT_EQ(turned.columns_of, (Indices{0, 0, 1}));
  EXPECT_EQ(turned.values, (Values{1, 2, 3}));
}

TEST(SparseRows, MultipliesAVector) {
  const Values x{1, 10, 100};
  Values y(2);
  multiply(from_dense(2, 3, {1, 0, 2, 0, 0, 3}), x.data(), y.data());
  EXPECT_EQ(y, (Values{201, 300}));
}

// [1 2; 0 3] * [0 4; 5 0] = [10 4; 15 0]: 100 + 16 + 225.
TEST(MeasureProduct, CountsAndSquaresOfASmallProduct) {
  const ProductSize size =
      measure_product(from_dense(2, 2, {1, 2, 0, 3}), from_dense(2, 2, {0, 4, 5, 0}));
  EXPECT_EQ(size.nonzeros, 3);
  EXPECT_DOUBLE_EQ(size.sum_of_squares, 341);
}

// [1 1] * [1; -1] = 0, but two products contribute.
TEST(MeasureProduct, CountsAnEntryWhoseTermsCancel) {
  const ProductSize size = measure_product(from_dense(1, 2, {1, 1}), from_dense(2, 1, {1, -1}));
  EXPECT_EQ(size.nonzeros, 1);
  EXPECT_EQ(size.sum_of_squares, 0);
}

TEST(MeasureProduct, AgreesWithTheDenseProduct) {
  constexpr std::size_t kP = 301;  // more than two chunks of rows
  constexpr std::size_t kN = 40;
  constexpr std::size_t kQ = 57;
  const Values left = random_dense(kP, kN, 0.1, "left");
  const Values right = random_dense(kN, kQ, 0.2, "right");
  std::int64_t nonzeros = 0;
  double squares = 0;
  for (const double value : dense_product(left, right, kP, kN, kQ)) {
    nonzeros += value != 0 ? 1 : 0;
    squares += value * value;
  }
  const ProductSize size = measure_product(from_dense(kP, kN, left), from_dense(kN, kQ, right));
  EXPECT_EQ(size.nonzeros, nonzeros);
  EXPECT_LT(nonzeros, static_cast<std::int64_t>(kP * kQ));
  EXPECT_NEAR(size.sum_of_squares, squares, 1e-12 * squares);
}

// [10 4 0; 15 0 0; 0 0 1] in blocks of two: the corner blocks have 4, 2, 2 and 1 entries.
TEST(ProductBlocks, AreRootsOfMeanSquares) {
  const SparseRows left = from_dense(3, 3, {1, 2, 0, 0, 3, 0, 0, 0, 1});
  const SparseRows right = from_dense(3, 3, {0, 4, 0, 5, 0, 0, 0, 0, 1});
  EXPECT_EQ(product_blocks(left, right, 2), (Values{std::sqrt(341.0 / 4), 0, 0, 1}));
  EXPECT_EQ(product_blocks(left, right, 1), (Values{10, 4, 0, 15, 0, 0, 0, 0, 1}));
}

TEST(SparseProduct, RefusesWhatDoesNotFit) {
  const SparseRows matrix = from_dense(2, 3, {1, 0, 2, 0, 0, 3});
  expect_error<ShapeError>([&] { measure_product(matrix, matrix); }, {"2 x 3", "times"});
  expect_error<ShapeError>([&] { product_blocks(matrix, matrix, 1); }, {"2 x 3"});
  expect_error<ShapeError>([&] { product_blocks(matrix, transposed(matrix), 0); }, {"blocks of 0"});
  expect_error<ShapeError>([] { sparse_rows(2, 2, Indices{4}, Values{1}); }, {"got 4"});
  expect_error<ShapeError>([] { sparse_rows(2, 2, Indices{-1}, Values{1}); }, {"got -1"});
  expect_error<ShapeError>([] { sparse_rows(2, 2, Indices{1, 1}, Values{1, 1}); }, {"1 after 1"});
  expect_error<ShapeError>([] { sparse_rows(2, 2, Indices{1}, Values{}); }, {"1 indices"});
  expect_error<ShapeError>([] { sparse_rows(0, 2, Indices{}, Values{}); }, {"0 x 2"});
}

}  // namespace
}  // namespace shira
