// Builders are closures: a budget and its options in, a function from weight to mask out.
#include <shira/base/error.h>
#include <shira/kernels/philox.h>
#include <shira/kernels/top_k.h>
#include <shira/sparse/mask_builders.h>

#include <ATen/Functions.h>

#include <cmath>
#include <cstring>
#include <span>

namespace shira {
namespace {

SparseMask mask_from_indices(at::IntArrayRef shape, const std::vector<std::int32_t>& indices) {
  torch::Tensor tensor = at::empty({static_cast<std::int64_t>(indices.size())}, torch::kInt32);
  std::memcpy(tensor.data_ptr(), indices.data(), tensor.nbytes());
  return {shape.vec(), tensor};
}

/// abs(weight) as a flat float32 vector.
torch::Tensor magnitudes(const torch::Tensor& weight) {
  return weight.detach().to(torch::kFloat32).abs().contiguous().view({-1});
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
    const torch::Tensor scores = magnitudes(weight);
    const std::span<const float> span(scores.const_data_ptr<float>(),
                                      static_cast<std::size_t>(scores.numel()));
    return mask_from_indices(weight.sizes(), top_k_band(span, band * nnz, nnz));
  };
}

MaskMap build_masks(const std::vector<NamedTensor>& parameters, const MaskBuilder& builder) {
  MaskMap masks;
  for (const auto& [name, weight] : parameters) masks.emplace(name, builder(name, weight));
  return masks;
}

}  // namespace shira
