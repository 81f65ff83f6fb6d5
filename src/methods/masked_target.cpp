// The weight is the truth: what is exported is read from it.
#include <shira/base/error.h>
#include <shira/methods/masked_target.h>
#include <shira/sparse/scatter_into.h>

namespace shira {

MaskedTarget masked_target(LayerTarget target, const MaskMap& masks) {
  check_trainable(target);
  const std::string name = target.parameter_name();
  SHIRA_CHECK(ConfigError, masks.contains(name), "there is no mask for ", name, ".");
  const SparseMask& mask = masks.at(name);
  const torch::Tensor& weight = target.layer->weight;
  check_scatter(name, weight, mask);
  torch::Tensor indices = indices_for(weight, mask.indices());
  const auto checksum = base_checksum(gather_from(weight, indices), weight.scalar_type());
  return {std::move(target), mask, std::move(indices), checksum};
}

torch::Tensor wide_entries(const MaskedTarget& target) {
  const torch::Tensor& weight = target.weight();
  const auto wide = c10::promoteTypes(weight.scalar_type(), torch::kFloat32);
  return gather_from(weight, target.indices).to(wide);
}

void publish_entries(const MaskedTarget& target, const torch::Tensor& values) {
  const torch::Tensor& weight = target.weight();
  scatter_into(weight, target.indices, values.detach().to(weight.scalar_type()));
}

void extract_entries(const MaskedTarget& target, SparseAdapter& adapter) {
  const torch::Tensor& weight = target.weight();
  adapter.base_dtype = weight.scalar_type();
  adapter.tensors.emplace(
      target.target.parameter_name(),
      SparseTensor{target.mask, gather_from(weight, target.indices).cpu(), target.base_checksum});
}

}  // namespace shira
