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

/// The `band`-th group of nnz entries in descending order of abs(W), ties by lower index; 0 is the
/// top. Bands of one budget share no entry. ConfigError where the tensor has no such band.
SHIRA_API MaskBuilder wm_mask(MaskBudget budget, std::int64_t band = 0);

/// One mask for each parameter.
SHIRA_API MaskMap build_masks(const std::vector<NamedTensor>& parameters,
                              const MaskBuilder& builder);

}  // namespace shira
