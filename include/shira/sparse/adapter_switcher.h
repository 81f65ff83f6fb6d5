// Puts patches on a live model and takes them off again, bit for bit.
#pragma once

#include <shira/base/export.h>
#include <shira/kernels/switch_lock.h>
#include <shira/sparse/weight_patch.h>

#include <torch/nn/module.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace shira {

/// Owns what is applied to a model: at most one patch at a time. Reverts when it goes out of scope.
/// The model's weights must not be written by anyone else meanwhile.
///
/// Threads: every thread that computes with the model holds a lease for a whole generation, or for
/// a forward and its backward; apply, switch_to and revert wait for the leases under way, keep new
/// ones waiting, and so happen between computations. Every function may be called on any thread.
///
/// Every function that throws leaves the weights and what is applied as they were.
class SHIRA_API AdapterSwitcher {
 public:
  /// Every parameter of `model` by name; the tensors are shared, not copied. A weight that two
  /// names share (a tied head) may be adapted under either of them, not under both at once.
  explicit AdapterSwitcher(const torch::nn::Module& model);
  ~AdapterSwitcher();
  AdapterSwitcher(const AdapterSwitcher&) = delete;
  AdapterSwitcher& operator=(const AdapterSwitcher&) = delete;

  /// The weights stay as they are for as long as the result lives. Switching on a thread that holds
  /// a lease is an Error.
  [[nodiscard]] Lease lease() const { return Lease(lock_); }

  /// Resolves adapters against the base, also while a patch is applied.
  WeightPatch resolve(const std::vector<ScaledAdapter>& adapters,
                      ResolveOptions options = {}) const;

  /// Overwrites the base with `patch`. Error when another patch is applied: switch_to replaces it.
  void apply(const WeightPatch& patch);
  /// Reverts what is applied, if anything, and applies `patch`, in one pass over the weights.
  void switch_to(const WeightPatch& patch);
  /// switch_to(resolve(adapters)), but in one pass over the weights where the adapters' values are
  /// copied: the fastest way from a file to a ready model. Returns the patch, for later.
  WeightPatch switch_to(const std::vector<ScaledAdapter>& adapters, ResolveOptions options = {});
  /// Gives back every bit of the base; nothing to do when nothing is applied.
  void revert();

  bool is_applied() const;

 private:
  torch::Tensor base_values(const std::string& name, const torch::Tensor& indices) const;
  void check(const WeightPatch& patch) const;
  bool fits_as_is(const SparseAdapter& adapter) const;
  std::optional<WeightPatch> swap_in(const SparseAdapter& adapter, ResolveOptions options);
  void revert_locked();
  void switch_locked(const WeightPatch& patch);

  const std::string& one_name(const std::string& name) const;
  std::optional<std::pair<std::string, std::string>> tied_names(
      const std::vector<ScaledAdapter>& adapters) const;

  std::map<std::string, torch::Tensor> parameters_;
  std::map<std::string, std::string> tied_;  // the further names of a weight to its first one
  std::optional<WeightPatch> applied_;
  mutable SwitchLock lock_;
};

}  // namespace shira
