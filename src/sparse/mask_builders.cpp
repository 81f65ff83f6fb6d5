// Builders are closures: a budget and its options in, a function from weight to mask out.
#include <shira/base/error.h>
#include <shira/kernels/philox.h>
#include <shira/kernels/top_k.h>
#include <shira/sparse/mask_builders.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <iterator>
#include <numeric>
#include <utility>

namespace shira {
namespace {

SparseMask mask_from_indices(at::IntArrayRef shape, const std::vector<std::int32_t>& indices) {
  torch::Tensor tensor = at::empty({static_cast<std::int64_t>(indices.size())}, torch::kInt32);
  std::memcpy(tensor.data_ptr(), indices.data(), tensor.nbytes());
  return {shape.vec(), tensor};
}

/// A weight as the matrix (out, in); a convolution's (out, in, kh, kw) is (out, in * kh * kw).
struct Matrix {
  std::int64_t rows;
  std::int64_t columns;
};

Matrix as_matrix(const std::string& name, at::IntArrayRef shape) {
  SHIRA_CHECK(ConfigError, shape.size() >= 2, "[struct_mask] ", name,
              ": needs a matrix. Got shape ", shape, ".");
  return {shape[0], c10::multiply_integers(shape.slice(1))};
}

/// How many whole lines of `length` entries a struct mask has beside a diagonal of `diagonal`.
std::int64_t struct_lines(std::int64_t nnz, std::int64_t diagonal, std::int64_t length) {
  const double lines = static_cast<double>(nnz - diagonal) / static_cast<double>(length);
  return std::max<std::int64_t>(1, std::llround(lines));
}

/// `count` of `size` lines, evenly spaced from `offset` on, sorted.
std::vector<std::int64_t> spaced_lines(std::int64_t size, std::int64_t count, std::int64_t offset) {
  std::vector<std::int64_t> lines(static_cast<std::size_t>(count));
  for (std::int64_t j = 0; j < count; ++j) {
    lines[static_cast<std::size_t>(j)] = (offset % size + j * size / count) % size;
  }
  std::ranges::sort(lines);
  return lines;
}

/// The diagonal, `rows` and `columns`, both sorted.
std::vector<std::int32_t> struct_indices(Matrix matrix, const std::vector<std::int64_t>& rows,
                                         const std::vector<std::int64_t>& columns) {
  std::vector<std::int64_t> every_column(static_cast<std::size_t>(matrix.columns));
  std::iota(every_column.begin(), every_column.end(), 0);
  std::vector<std::int32_t> indices;
  for (std::int64_t row = 0; row < matrix.rows; ++row) {
    const std::array diagonal{row * matrix.columns / matrix.rows};
    std::vector<std::int64_t> chosen;
    std::ranges::set_union(std::ranges::binary_search(rows, row) ? every_column : columns, diagonal,
                           std::back_inserter(chosen));
    for (const std::int64_t column : chosen) {
      indices.push_back(static_cast<std::int32_t>(row * matrix.columns + column));
    }
  }
  return indices;
}

}  // namespace

std::int64_t mask_nnz(const MaskBudget& budget, at::IntArrayRef shape) {
  SHIRA_CHECK(ConfigError, budget.density.has_value() != budget.r.has_value(),
              "[mask] give exactly one of shira_density and shira_r.");
  const std::int64_t numel = c10::multiply_integers(shape);
  std::int64_t nnz = 0;
  if (budget.density) {
    nnz = std::max<std::int64_t>(1, std::llround(*budget.density * static_cast<double>(numel)));
  } else {
    SHIRA_CHECK(ConfigError, shape.size() >= 2, "[mask] shira_r needs a matrix. Got shape ", shape,
                ".");
    nnz = *budget.r * (shape[0] + numel / shape[0]);
  }
  SHIRA_CHECK(ConfigError, nnz >= 1 && nnz <= numel, "[mask] a budget of ", nnz,
              " entries does not fit shape ", shape, " with ", numel,
              ". Lower shira_density or shira_r.");
  return nnz;
}

MaskBuilder rand_mask(MaskBudget budget, std::uint64_t seed) {
  return [budget, seed](const std::string& name, const torch::Tensor& weight) {
    PhiloxStream stream(seed, name);
    return mask_from_indices(
        weight.sizes(),
        sample_without_replacement(stream, weight.numel(), mask_nnz(budget, weight.sizes())));
  };
}

MaskBuilder wm_mask(MaskBudget budget, std::int64_t band) {
  return [budget, band](const std::string& name, const torch::Tensor& weight) {
    const std::int64_t nnz = mask_nnz(budget, weight.sizes());
    SHIRA_CHECK(ConfigError, band >= 0 && (band + 1) * nnz <= weight.numel(), "[wm_mask] ", name,
                " has ", weight.numel(), " entries: no band ", band, " of ", nnz,
                ". Lower shira_wm_band or the budget.");
    try {
      return mask_of_largest(weight, nnz, band * nnz);
    } catch (const ShapeError& error) {
      throw ShapeError(name + ": " + error.what());
    }
  };
}

MaskBuilder struct_mask(MaskBudget budget, StructAxis axis, std::int64_t offset) {
  SHIRA_CHECK(ConfigError, offset >= 0, "[struct_mask] shira_struct_offset is ", offset,
              ", expected 0 or more.");
  return [budget, axis, offset](const std::string& name, const torch::Tensor& weight) {
    const Matrix matrix = as_matrix(name, weight.sizes());
    const std::int64_t nnz = mask_nnz(budget, weight.sizes());
    const std::int64_t diagonal = matrix.rows;
    std::vector<std::int64_t> rows;
    std::vector<std::int64_t> columns;
    if (axis == StructAxis::kRow) {
      rows = spaced_lines(matrix.rows, struct_lines(nnz, diagonal, matrix.columns), offset);
    } else {
      columns = spaced_lines(matrix.columns, struct_lines(nnz, diagonal, matrix.rows), offset);
    }
    return mask_from_indices(weight.sizes(), struct_indices(matrix, rows, columns));
  };
}

SparseMask mask_of_largest(const torch::Tensor& scores, std::int64_t nnz, std::int64_t skip) {
  const bool wide = scores.scalar_type() == torch::kFloat64;
  const torch::Tensor ready =
      scores.detach().to(wide ? torch::kFloat32 : scores.scalar_type()).contiguous();
  return mask_from_indices(
      scores.sizes(),
      top_k_band(ready.const_data_ptr(), to_dtype(ready.scalar_type()), ready.numel(), skip, nnz));
}

MaskBuilder given_mask(MaskMap masks) {
  return [masks = std::move(masks)](const std::string& name, const torch::Tensor& weight) {
    const auto found = masks.find(name);
    SHIRA_CHECK(ConfigError, found != masks.end(), "[given_mask] there is no mask for ", name,
                ". Give one, or leave it out of target_modules.");
    const SparseMask& mask = found->second;
    SHIRA_CHECK(ShapeError, weight.sizes() == at::IntArrayRef(mask.shape()), "[given_mask] ", name,
                " is ", weight.sizes(), ", its mask is for ", at::IntArrayRef(mask.shape()),
                ". Was the mask made for another model?");
    return mask;
  };
}

MaskMap build_masks(const std::vector<NamedTensor>& parameters, const MaskBuilder& builder) {
  MaskMap masks;
  for (const auto& [name, weight] : parameters) masks.emplace(name, builder(name, weight.cpu()));
  return masks;
}

}  // namespace shira
