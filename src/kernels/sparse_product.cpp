// Gustavson's algorithm ("Two fast algorithms for sparse matrices", ACM TOMS 4(3), 1978): a row of
// the product is a sum of rows of the right matrix, collected in a dense accumulator.
#include <shira/base/error.h>
#include <shira/kernels/parallel.h>
#include <shira/kernels/sparse_product.h>

#include <algorithm>
#include <cmath>

namespace shira {
namespace {

constexpr std::int64_t kRowsAChunk = 128;

/// Calls visit(column, value) for each entry of a row.
template <typename Visit>
void for_each_entry(const SparseRows& matrix, std::int64_t row, Visit visit) {
  const auto end = static_cast<std::size_t>(matrix.row_begin[static_cast<std::size_t>(row) + 1]);
  for (auto k = static_cast<std::size_t>(matrix.row_begin[static_cast<std::size_t>(row)]); k < end;
       ++k) {
    visit(matrix.columns_of[k], matrix.values[k]);
  }
}

/// One row of left * right at a time.
class ProductRow {
 public:
  ProductRow(const SparseRows& left, const SparseRows& right)
      : left_(left),
        right_(right),
        sums_(static_cast<std::size_t>(right.columns)),
        last_row_(static_cast<std::size_t>(right.columns), -1) {}

  /// Calls visit(column, value) for each entry of the product's row, in no order.
  template <typename Visit>
  void visit(std::int64_t row, Visit visit) {
    touched_.clear();
    for_each_entry(left_, row, [&](std::int32_t inner, double factor) {
      for_each_entry(right_, inner, [&](std::int32_t column, double value) {
        const auto at = static_cast<std::size_t>(column);
        if (last_row_[at] != row) {
          last_row_[at] = row;
          sums_[at] = 0.0;
          touched_.push_back(column);
        }
        sums_[at] += factor * value;
      });
    });
    for (const std::int32_t column : touched_) {
      visit(column, sums_[static_cast<std::size_t>(column)]);
    }
  }

 private:
  const SparseRows& left_;
  const SparseRows& right_;
  std::vector<double> sums_;
  std::vector<std::int64_t> last_row_;  // in which each sum began
  std::vector<std::int32_t> touched_;
};

void check_product(const SparseRows& left, const SparseRows& right) {
  SHIRA_CHECK(ShapeError, left.columns == right.rows, "sparse product: got ", left.rows, " x ",
              left.columns, " times ", right.rows, " x ", right.columns,
              ", expected as many columns as rows");
}

}  // namespace

SparseRows sparse_rows(std::int64_t rows, std::int64_t columns,
                       std::span<const std::int32_t> indices, std::span<const double> values) {
  SHIRA_CHECK(ShapeError, rows > 0 && columns > 0 && indices.size() == values.size(),
              "sparse_rows: got ", indices.size(), " indices and ", values.size(), " values for ",
              rows, " x ", columns, ", expected equal counts and a matrix with entries");
  SparseRows matrix{rows, columns, {}, {}, {}};
  matrix.row_begin.assign(static_cast<std::size_t>(rows) + 1, 0);
  std::int64_t previous = -1;
  for (std::size_t k = 0; k < indices.size(); ++k) {
    const std::int64_t index = indices[k];
    SHIRA_CHECK(ShapeError, index > previous && index / columns < rows, "sparse_rows: got ", index,
                " after ", previous, ", expected sorted positions within ", rows, " x ", columns);
    previous = index;
    if (values[k] == 0.0) continue;
    ++matrix.row_begin[static_cast<std::size_t>(index / columns) + 1];
    matrix.columns_of.push_back(static_cast<std::int32_t>(index % columns));
    matrix.values.push_back(values[k]);
  }
  for (std::size_t row = 1; row < matrix.row_begin.size(); ++row) {
    matrix.row_begin[row] += matrix.row_begin[row - 1];
  }
  return matrix;
}

SparseRows transposed(const SparseRows& matrix) {
  SparseRows result{matrix.columns, matrix.rows, {}, {}, {}};
  result.row_begin.assign(static_cast<std::size_t>(matrix.columns) + 1, 0);
  result.columns_of.resize(matrix.columns_of.size());
  result.values.resize(matrix.values.size());
  for (const std::int32_t column : matrix.columns_of) {
    ++result.row_begin[static_cast<std::size_t>(column) + 1];
  }
  for (std::size_t row = 1; row < result.row_begin.size(); ++row) {
    result.row_begin[row] += result.row_begin[row - 1];
  }
  std::vector<std::int64_t> next(result.row_begin.begin(), result.row_begin.end() - 1);
  for (std::int64_t row = 0; row < matrix.rows; ++row) {
    for_each_entry(matrix, row, [&](std::int32_t column, double value) {
      const auto at = static_cast<std::size_t>(next[static_cast<std::size_t>(column)]++);
      result.columns_of[at] = static_cast<std::int32_t>(row);
      result.values[at] = value;
    });
  }
  return result;
}

void multiply(const SparseRows& matrix, const double* x, double* y) {
  constexpr std::int64_t kGrain = 1024;
  parallel_chunks(
      matrix.rows, kGrain, [&](std::int64_t begin, std::int64_t end, std::int64_t /*chunk*/) {
        for (std::int64_t row = begin; row < end; ++row) {
          double sum = 0.0;
          for_each_entry(matrix, row,
                         [&](std::int32_t column, double value) { sum += value * x[column]; });
          y[row] = sum;
        }
      });
}

ProductSize measure_product(const SparseRows& left, const SparseRows& right) {
  check_product(left, right);
  std::vector<ProductSize> sizes(static_cast<std::size_t>(chunk_count(left.rows, kRowsAChunk)));
  parallel_chunks(left.rows, kRowsAChunk,
                  [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
                    ProductRow product(left, right);
                    ProductSize size;
                    for (std::int64_t row = begin; row < end; ++row) {
                      product.visit(row, [&](std::int32_t /*column*/, double value) {
                        ++size.nonzeros;
                        size.sum_of_squares += value * value;
                      });
                    }
                    sizes[static_cast<std::size_t>(chunk)] = size;
                  });
  ProductSize total;
  for (const ProductSize& size : sizes) {
    total.nonzeros += size.nonzeros;
    total.sum_of_squares += size.sum_of_squares;
  }
  return total;
}

std::vector<double> product_blocks(const SparseRows& left, const SparseRows& right,
                                   std::int64_t side) {
  check_product(left, right);
  SHIRA_CHECK(ShapeError, side > 0, "product_blocks: got blocks of ", side, ", expected 1 or more");
  const std::int64_t width = chunk_count(right.columns, side);
  std::vector<double> blocks(static_cast<std::size_t>(chunk_count(left.rows, side) * width));
  // A chunk is one line of blocks.
  parallel_chunks(left.rows, side, [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
    double* line = blocks.data() + chunk * width;
    ProductRow product(left, right);
    for (std::int64_t row = begin; row < end; ++row) {
      product.visit(row, [&](std::int32_t column, double value) {  //
        line[column / side] += value * value;
      });
    }
    for (std::int64_t block = 0; block < width; ++block) {
      const std::int64_t columns = std::min(side, right.columns - block * side);
      line[block] = std::sqrt(line[block] / static_cast<double>((end - begin) * columns));
    }
  });
  return blocks;
}

}  // namespace shira
