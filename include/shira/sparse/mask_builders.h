// Which entries to train (SHiRA, section 3.1 and appendix B).
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/sparse_mask.h>
#include <shira/sparse/tensor_file.h>

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace shira {

/// How many entries a mask has; exactly one of the two is given (ConfigError otherwise).
struct MaskBudget {
  std::optional<double> density =
      std::nullopt;  // share of the tensor: nnz = round(density * numel), at least 1
  std::optional<std::int64_t> r = std::nullopt;  // PEFT's count: nnz = r * (out + in)
};

/// The number of entries that `budget` gives a tensor of this shape, a convolution's (out, in, kh,
/// kw) taken as the matrix (out, in * kh * kw). ConfigError where it is more than the tensor has.
SHIRA_API std::int64_t mask_nnz(const MaskBudget& budget, at::IntArrayRef shape);

/// (parameter name, weight) -> mask.
using MaskBuilder = std::function<SparseMask(const std::string&, const torch::Tensor&)>;

/// Uniform without replacement, exactly nnz entries, from Philox keyed by (seed, parameter name):
/// the same on every platform, different for each parameter.
SHIRA_API MaskBuilder rand_mask(MaskBudget budget, std::uint64_t seed);

/// What a struct mask trains whole.
enum class StructAxis { kRow, kColumn };

/// Evenly spaced whole rows (or columns) and the main diagonal (i, i * in / out): of high rank, and
/// nearly orthogonal to a mask with other rows. Row j of n is (offset + j * out / n) mod out, where
/// n = round((nnz - diagonal) / in), at least 1; columns likewise. So the count is near the budget
/// for a large tensor and above it for a small one.
SHIRA_API MaskBuilder struct_mask(MaskBudget budget, StructAxis axis = StructAxis::kRow,
                                  std::int64_t offset = 0);

/// The `band`-th group of nnz entries in descending order of abs(W), ties by lower index; 0 is the
/// top. Bands of one budget share no entry. ConfigError where the tensor has no such band.
SHIRA_API MaskBuilder wm_mask(MaskBudget budget, std::int64_t band = 0);

/// The entries of ranks [skip, skip + nnz) in descending order of abs(score), ties by lower index.
/// `scores` has the weight's shape and a floating-point dtype; ShapeError for NaN.
SHIRA_API SparseMask mask_of_largest(const torch::Tensor& scores, std::int64_t nnz,
                                     std::int64_t skip = 0);

/// Masks made elsewhere. ConfigError for a parameter that has none, ShapeError for one of another
/// shape.
SHIRA_API MaskBuilder given_mask(MaskMap masks);

/// One mask for each parameter, on whatever device that is.
SHIRA_API MaskMap build_masks(const std::vector<NamedTensor>& parameters,
                              const MaskBuilder& builder);

}  // namespace shira
