// Three ways to A1^T A2: sparse, by its rows without storing it; through the factors where one
// change is of low rank; dense otherwise.
#include <shira/base/error.h>
#include <shira/kernels/sparse_product.h>
#include <shira/sparse/orthogonality.h>

#include <ATen/Functions.h>

#include <cmath>

namespace shira {
namespace {

constexpr std::int64_t kDecomposed = 256;  // columns of a product whose singular values are cheap

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

struct MatrixShape {
  std::int64_t rows;
  std::int64_t columns;
  bool operator==(const MatrixShape&) const = default;
};

MatrixShape flattened(at::IntArrayRef shape) {
  const std::int64_t numel = c10::multiply_integers(shape);
  SHIRA_CHECK(ShapeError, !shape.empty() && numel > 0, "[orthogonality] expected a change of a ",
              "weight with entries. Got shape ", shape, ".");
  return {shape[0], numel / shape[0]};
}

MatrixShape shape_of(const WeightChange& change) {
  return std::visit(
      Overloaded{[](const SparseTensor& sparse) { return flattened(sparse.mask.shape()); },
                 [](const LowRank& low) {
                   SHIRA_CHECK(
                       ShapeError,
                       low.b.dim() == 2 && low.a.dim() == 2 && low.b.size(1) == low.a.size(0),
                       "[orthogonality] expected factors (out, r) and (r, in). Got ", low.b.sizes(),
                       " and ", low.a.sizes(), ".");
                   return flattened({low.b.size(0), low.a.size(1)});
                 },
                 [](const torch::Tensor& dense) { return flattened(dense.sizes()); }},
      change);
}

/// In float64 on the CPU; ShapeError unless finite.
torch::Tensor checked_float64(const torch::Tensor& tensor) {
  torch::Tensor values = tensor.detach().cpu().to(torch::kFloat64).contiguous();
  SHIRA_CHECK(ShapeError, values.isfinite().all().item<bool>(),
              "[orthogonality] a change holds values that are not finite.");
  return values;
}

/// The change as float64 tensors, a matrix; the scale gone into B.
WeightChange prepared(const WeightChange& change) {
  const MatrixShape shape = shape_of(change);
  return std::visit(
      Overloaded{[](const SparseTensor& sparse) -> WeightChange {
                   return SparseTensor{sparse.mask, checked_float64(sparse.values), std::nullopt};
                 },
                 [](const LowRank& low) -> WeightChange {
                   return LowRank{checked_float64(low.b) * low.scale, checked_float64(low.a)};
                 },
                 [&](const torch::Tensor& dense) -> WeightChange {
                   return checked_float64(dense).view({shape.rows, shape.columns});
                 }},
      change);
}

SparseRows rows_of(const SparseTensor& sparse) {
  const MatrixShape shape = flattened(sparse.mask.shape());
  const auto nnz = static_cast<std::size_t>(sparse.mask.nnz());
  SHIRA_CHECK(ShapeError, sparse.values.numel() == sparse.mask.nnz(), "[orthogonality] a mask of ",
              nnz, " entries has ", sparse.values.numel(), " values.");
  return sparse_rows(shape.rows, shape.columns,
                     {sparse.mask.indices().const_data_ptr<std::int32_t>(), nnz},
                     {sparse.values.const_data_ptr<double>(), nnz});
}

torch::Tensor dense_of(const SparseRows& sparse) {
  torch::Tensor dense = at::zeros({sparse.rows, sparse.columns}, torch::kFloat64);
  auto entries = dense.accessor<double, 2>();
  for (std::int64_t row = 0; row < sparse.rows; ++row) {
    const auto end = sparse.row_begin[static_cast<std::size_t>(row) + 1];
    for (auto k = sparse.row_begin[static_cast<std::size_t>(row)]; k < end; ++k) {
      const auto at = static_cast<std::size_t>(k);
      entries[row][sparse.columns_of[at]] = sparse.values[at];
    }
  }
  return dense;
}

torch::Tensor dense_of(const WeightChange& change) {
  return std::visit(Overloaded{[](const SparseTensor& sparse) { return dense_of(rows_of(sparse)); },
                               [](const LowRank& low) { return low.b.mm(low.a); },
                               [](const torch::Tensor& dense) { return dense; }},
                    change);
}

// ---- sparse with sparse

torch::Tensor times(const SparseRows& matrix, const torch::Tensor& x) {
  torch::Tensor y = at::empty({matrix.rows}, torch::kFloat64);
  multiply(matrix, x.const_data_ptr<double>(), y.mutable_data_ptr<double>());
  return y;
}

Orthogonality of_sparse(const SparseRows& first, const SparseRows& second) {
  const SparseRows first_turned = transposed(first);
  const ProductSize size = measure_product(first_turned, second);
  Orthogonality result{
      {}, std::sqrt(size.sum_of_squares), size.nonzeros, first.columns * first.columns};
  if (first.columns <= kDecomposed) {
    result.spectral = spectral_norm(dense_of(first).t().mm(dense_of(second)));
    return result;
  }
  const SparseRows second_turned = transposed(second);
  result.spectral = spectral_norm(first.columns, [&](const torch::Tensor& x) {
    const torch::Tensor product = times(first_turned, times(second, x));
    return times(second_turned, times(first, product));
  });
  return result;
}

// ---- anything with low rank: A1^T A2 = (A1^T B) A, (in, r) (r, in)

/// change^T * b for b (out, r).
torch::Tensor turned_times(const WeightChange& change, const torch::Tensor& b) {
  return std::visit(Overloaded{[&](const SparseTensor& sparse) {
                                 const SparseRows turned = transposed(rows_of(sparse));
                                 const torch::Tensor columns = b.t().contiguous();
                                 torch::Tensor result =
                                     at::empty({b.size(1), turned.rows}, torch::kFloat64);
                                 for (std::int64_t k = 0; k < b.size(1); ++k) {
                                   result.select(0, k).copy_(times(turned, columns.select(0, k)));
                                 }
                                 return torch::Tensor(result.t());
                               },
                               [&](const LowRank& low) { return low.a.t().mm(low.b.t().mm(b)); },
                               [&](const torch::Tensor& dense) { return dense.t().mm(b); }},
                    change);
}

torch::Tensor pattern_of(const torch::Tensor& tensor) { return tensor.ne(0).to(torch::kFloat64); }

/// 1 where the change's parts have a nonzero, 0 elsewhere: sums of products of them do not cancel.
WeightChange pattern_of(const WeightChange& change) {
  return std::visit(
      Overloaded{[](const SparseTensor& sparse) -> WeightChange {
                   return SparseTensor{sparse.mask, pattern_of(sparse.values), std::nullopt};
                 },
                 [](const LowRank& low) -> WeightChange {
                   return LowRank{pattern_of(low.b), pattern_of(low.a)};
                 },
                 [](const torch::Tensor& dense) -> WeightChange { return pattern_of(dense); }},
      change);
}

/// How many entries of the product of two patterns are not zero, some of its rows at a time.
std::int64_t count_nonzeros(const torch::Tensor& left, const torch::Tensor& right) {
  constexpr std::int64_t kRows = 256;
  const torch::Tensor small_left = left.gt(0).to(torch::kFloat32);
  const torch::Tensor small_right = right.gt(0).to(torch::kFloat32);
  std::int64_t count = 0;
  for (std::int64_t row = 0; row < left.size(0); row += kRows) {
    const std::int64_t rows = std::min(kRows, left.size(0) - row);
    count += small_left.narrow(0, row, rows).mm(small_right).count_nonzero().item<std::int64_t>();
  }
  return count;
}

Orthogonality of_low_rank(const WeightChange& first, const LowRank& second) {
  const torch::Tensor left = turned_times(first, second.b);  // (in, r)
  // Orthogonal factors leave the singular values to an (r, r) core.
  const torch::Tensor left_core = std::get<1>(at::linalg_qr(left));
  const torch::Tensor right_core = std::get<1>(at::linalg_qr(second.a.t()));
  const torch::Tensor core = left_core.mm(right_core.t());
  const torch::Tensor left_pattern = turned_times(pattern_of(first), pattern_of(second.b));
  return {spectral_norm(core), core.norm().item<double>(),
          count_nonzeros(left_pattern, pattern_of(second.a)), left.size(0) * left.size(0)};
}

// ---- dense

Orthogonality of_dense(const torch::Tensor& first, const torch::Tensor& second) {
  const torch::Tensor product = first.t().mm(second);
  const std::int64_t nonzeros = count_nonzeros(pattern_of(first).t(), pattern_of(second));
  Orthogonality result{{}, product.norm().item<double>(), nonzeros, product.numel()};
  if (product.size(1) <= kDecomposed) {
    result.spectral = spectral_norm(product);
    return result;
  }
  result.spectral = spectral_norm(
      product.size(1), [&](const torch::Tensor& x) { return product.t().mv(product.mv(x)); });
  return result;
}

void check_same_shape(const WeightChange& first, const WeightChange& second) {
  const MatrixShape one = shape_of(first);
  const MatrixShape other = shape_of(second);
  SHIRA_CHECK(ShapeError, one == other,
              "[orthogonality] the changes are of different shapes: ", one.rows, " x ", one.columns,
              " and ", other.rows, " x ", other.columns, ".");
}

}  // namespace

Orthogonality orthogonality(const WeightChange& first, const WeightChange& second) {
  torch::NoGradGuard no_grad;
  check_same_shape(first, second);
  const WeightChange one = prepared(first);
  const WeightChange other = prepared(second);
  if (const auto* low = std::get_if<LowRank>(&other)) return of_low_rank(one, *low);
  // The transposed product has the same norms and as many nonzeros.
  if (const auto* low = std::get_if<LowRank>(&one)) return of_low_rank(other, *low);
  const auto* sparse = std::get_if<SparseTensor>(&one);
  const auto* other_sparse = std::get_if<SparseTensor>(&other);
  if (sparse && other_sparse) return of_sparse(rows_of(*sparse), rows_of(*other_sparse));
  return of_dense(dense_of(one), dense_of(other));
}

ProductBlocks product_blocks(const SparseTensor& first, const SparseTensor& second,
                             std::int64_t most) {
  torch::NoGradGuard no_grad;
  check_same_shape(first, second);
  const SparseRows left = transposed(rows_of(std::get<SparseTensor>(prepared(first))));
  const SparseRows right = rows_of(std::get<SparseTensor>(prepared(second)));
  const std::int64_t side = (left.rows + most - 1) / most;
  return {side, (left.rows + side - 1) / side, product_blocks(left, right, side)};
}

}  // namespace shira
