// Puts patches on a live model and takes them off again, bit for bit.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/weight_patch.h>

#include <torch/nn/module.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shira {

/// Owns what is applied to a model: at most one patch at a time. Reverts when it goes out of scope.
/// The model's weights must not be written by anyone else meanwhile.
class SHIRA_API AdapterSwitcher {
 public:
  /// Every parameter of `model` by name; the tensors are shared, not copied.
  explicit AdapterSwitcher(const torch::nn::Module& model);
  ~AdapterSwitcher();
  AdapterSwitcher(const AdapterSwitcher&) = delete;
  AdapterSwitcher& operator=(const AdapterSwitcher&) = delete;

  /// Resolves adapters against the base, also while a patch is applied.
  WeightPatch resolve(const std::vector<ScaledAdapter>& adapters,
                      ResolveOptions options = {}) const;

  /// Overwrites the base with `patch`. Error when another patch is applied: switch_to replaces it.
  void apply(const WeightPatch& patch);
  /// Reverts what is applied, if anything, and applies `patch`.
  void switch_to(const WeightPatch& patch);
  /// Gives back every bit of the base; nothing to do when nothing is applied.
  void revert();

  bool is_applied() const { return applied_.has_value(); }

 private:
  torch::Tensor base_values(const std::string& name, const torch::Tensor& indices) const;

  std::map<std::string, torch::Tensor> parameters_;
  std::optional<WeightPatch> applied_;
};

}  // namespace shira
