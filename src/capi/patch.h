// Adapters resolved against a described base: the twin of sparse/weight_patch.h without LibTorch.
#pragma once

#include "adapter.h"
#include "base_tensors.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace shira::capi {

/// One tensor's share of a patch, both kinds of values in the weight's dtype.
struct PatchEntry {
  const BaseTensor* weight;
  Indices indices;  // null: dense
  Bytes patched;    // an item for each index, or for each of the weight's
  Bytes original;   // likewise

  std::size_t count() const { return indices ? indices->size() : weight->numel; }
};

using PatchEntries = std::map<std::string, PatchEntry>;  // by tensor

struct Patch {
  std::shared_ptr<const BaseTensors> base;  // whose weights `entries` point to
  std::shared_ptr<const PatchEntries> entries;
  std::int64_t unchecked = 0;  // targets that were not held against the base's values
};

struct ScaledAdapter {
  const Adapter* adapter;
  double scale;
};

/// `applied` is what covers the base just now. One ShapeError lists all that does not fit.
Patch resolve(std::shared_ptr<const BaseTensors> base, const PatchEntries& applied,
              const std::vector<ScaledAdapter>& adapters, bool force);

}  // namespace shira::capi
