// A switch is two overwrites: the old patch's originals, then the new patch's values.
#include <shira/base/error.h>
#include <shira/sparse/adapter_switcher.h>
#include <shira/sparse/scatter_into.h>

#include <ATen/Functions.h>

namespace shira {
namespace {

/// A patch was checked when it was resolved; this catches one that belongs to another model.
void check_entry(const std::map<std::string, torch::Tensor>& parameters, const std::string& name,
                 const PatchEntry& entry) {
  const auto found = parameters.find(name);
  const bool fits = found != parameters.end() &&
                    found->second.scalar_type() == entry.patched.scalar_type() &&
                    (entry.indices.numel() == 0 ||
                     entry.indices[-1].item<std::int64_t>() < found->second.numel());
  SHIRA_CHECK(Error, fits, "[AdapterSwitcher::apply] the patch does not fit parameter ", name,
              ". A patch belongs to the model it was resolved for.");
}

}  // namespace

AdapterSwitcher::AdapterSwitcher(const torch::nn::Module& model) {
  for (const auto& parameter : model.named_parameters()) {
    parameters_.emplace(parameter.key(), parameter.value());
  }
}

AdapterSwitcher::~AdapterSwitcher() { revert(); }

torch::Tensor AdapterSwitcher::base_values(const std::string& name,
                                           const torch::Tensor& indices) const {
  torch::Tensor values = gather_from(parameters_.at(name), indices);
  if (!applied_ || !applied_->entries.contains(name)) return values;
  const PatchEntry& entry = applied_->entries.at(name);
  if (entry.indices.numel() == 0) return values;
  const torch::Tensor at =
      at::searchsorted(entry.indices, indices).clamp_max(entry.indices.numel() - 1);
  const torch::Tensor is_patched = entry.indices.index_select(0, at) == indices;
  return at::where(is_patched, entry.original.index_select(0, at), values);
}

WeightPatch AdapterSwitcher::resolve(const std::vector<ScaledAdapter>& adapters,
                                     ResolveOptions options) const {
  const auto base = [this](const std::string& name, const torch::Tensor& indices) {
    return base_values(name, indices);
  };
  return resolve_patch(parameters_, adapters, base, options);
}

void AdapterSwitcher::apply(const WeightPatch& patch) {
  SHIRA_CHECK(Error, !applied_,
              "[AdapterSwitcher::apply] a patch is already applied. Call revert() "
              "first, or switch_to().");
  for (const auto& [name, entry] : patch.entries) check_entry(parameters_, name, entry);
  for (const auto& [name, entry] : patch.entries) {
    scatter_into(parameters_.at(name), entry.indices, entry.patched);
  }
  applied_ = patch;
}

void AdapterSwitcher::switch_to(const WeightPatch& patch) {
  revert();
  apply(patch);
}

void AdapterSwitcher::revert() {
  if (!applied_) return;
  for (const auto& [name, entry] : applied_->entries) {
    scatter_into(parameters_.at(name), entry.indices, entry.original);
  }
  applied_.reset();
}

}  // namespace shira
