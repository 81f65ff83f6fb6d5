// Sparse matrices by rows, and what a product of two of them holds without ever storing it.
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <span>
#include <vector>

namespace shira {

/// A matrix (rows, columns) by the entries of its rows.
struct SparseRows {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<std::int64_t> row_begin;   // (rows + 1): where each row's entries begin, and the end
  std::vector<std::int32_t> columns_of;  // (entries), rising within a row
  std::vector<double> values;            // (entries)

  std::int64_t entries() const { return static_cast<std::int64_t>(values.size()); }
};

/// The matrix with `values` at `indices` (row-major, sorted, unique; ShapeError otherwise, or
/// outside the matrix). A value of zero is no entry.
SHIRA_API SparseRows sparse_rows(std::int64_t rows, std::int64_t columns,
                                 std::span<const std::int32_t> indices,
                                 std::span<const double> values);

SHIRA_API SparseRows transposed(const SparseRows& matrix);

/// y = matrix * x for x (columns), y (rows). Every thread count gives the same bits.
SHIRA_API void multiply(const SparseRows& matrix, const double* x, double* y);

/// What the product left * right holds.
struct ProductSize {
  std::int64_t nonzeros = 0;    // entries to which a product of two entries contributes
  double sum_of_squares = 0.0;  // the Frobenius norm's square
};

/// Row by row, with one row of the product in memory for each thread: costs a multiplication for
/// every pair of entries that meet. ShapeError unless left (p, n), right (n, q).
SHIRA_API ProductSize measure_product(const SparseRows& left, const SparseRows& right);

/// The product in square blocks of `side` rows and columns, those at the right and lower edge may
/// be smaller: the root mean square of each block's entries, (p / side, q / side) rounded up.
SHIRA_API std::vector<double> product_blocks(const SparseRows& left, const SparseRows& right,
                                             std::int64_t side);

}  // namespace shira
