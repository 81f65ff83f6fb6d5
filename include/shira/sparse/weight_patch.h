// Adapters resolved against one base: what will be written where, and what was there before.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/sparse_adapter.h>

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace shira {

/// An adapter and how strongly it acts: W + scale * (adapted - W).
struct ScaledAdapter {
  SparseAdapter adapter;
  double scale = 1.0;
};

/// One tensor's share of a patch: the positions, the values to write and the base's own values
/// there, both in the weight's dtype.
struct PatchEntry {
  torch::Tensor indices;   // (nnz) int32, sorted
  torch::Tensor patched;   // (nnz)
  torch::Tensor original;  // (nnz)
};

/// Applying or reverting a patch is a pure overwrite.
struct WeightPatch {
  std::map<std::string, PatchEntry> entries;  // by parameter name
  SHIRA_API std::int64_t nnz() const;
};

struct ResolveOptions {
  bool force = false;  // accept an adapter made for another base
};

/// Reads the base's own values at sorted positions of the named parameter: (nnz), its dtype.
using BaseValues = std::function<torch::Tensor(const std::string&, const torch::Tensor& indices)>;

/// Resolves `adapters` against the weights in `parameters`. Exact: an entry that one kWeights
/// adapter at scale 1 covers is copied, at scale 0 it is left out; a single kDeltas adapter gives
/// round(fp32(W) + scale * v) as PEFT does; every other sum is formed in float64 and rounded once.
/// Throws Error listing all tensors that are missing, of another shape or (unless forced) of
/// another base.
SHIRA_API WeightPatch resolve_patch(const std::map<std::string, torch::Tensor>& parameters,
                                    const std::vector<ScaledAdapter>& adapters,
                                    const BaseValues& base_values, ResolveOptions options = {});

}  // namespace shira
