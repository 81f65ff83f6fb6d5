// One adapter from several.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/weight_patch.h>

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace shira {

struct FusedAdapter {
  /// mask_type "fused", or "diff" where one of them is; base_model is for the caller to set.
  SparseAdapter adapter;
  std::int64_t overlaps = 0;  // positions that two or more adapters have, at any scale
};

/// The kWeights adapter that, at scale 1, gives every weight the bits that `adapters` together give
/// it: the union of their positions, with values and base checksums in the dtype of `base`, which
/// is read under the masks only. What one adapter holds whole stays whole. Error as resolve_patch
/// has it, and where a sum overflows.
SHIRA_API FusedAdapter fuse_adapters(const std::map<std::string, torch::Tensor>& base,
                                     const std::vector<ScaledAdapter>& adapters,
                                     ResolveOptions options = {});

}  // namespace shira
