// What adapters do to a checkpoint, tensor by tensor. Unlike a model in memory a checkpoint may
// lose and gain tensors, and change their dtype and shape.
#pragma once

#include <shira/sparse/weight_patch.h>

#include <torch/types.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace shira::detail {

struct CheckpointChanges {
  std::set<std::string> patched;                  // through resolve_entry
  std::map<std::string, torch::Tensor> replaced;  // become these, of any dtype and shape
  std::set<std::string> added;                    // those of `replaced` that the base does not have
  std::set<std::string> removed;
  std::string problems;  // for check_fit: what is missing, or cannot be scaled or combined
};

/// `has` says whether the base has a tensor of this name.
CheckpointChanges changes_of(const std::vector<ScaledAdapter>& adapters,
                             const std::function<bool(const std::string&)>& has);

/// resolve_entry with the values of `weight` itself.
PatchEntry resolve_on(const std::string& name, const torch::Tensor& weight,
                      const std::vector<ScaledAdapter>& adapters, ResolveOptions options);

}  // namespace shira::detail
