// A layer whose masked entries are trained, and how they become an adapter.
#pragma once

#include <shira/base/export.h>
#include <shira/methods/targets.h>
#include <shira/sparse/sparse_adapter.h>
#include <shira/sparse/sparse_mask.h>

#include <torch/types.h>

#include <cstdint>

namespace shira {

struct MaskedTarget {
  LayerTarget target;
  SparseMask mask;
  torch::Tensor indices;        // the mask's, as indices_for has them
  std::uint64_t base_checksum;  // of the weight's own values before training

  const torch::Tensor& weight() const { return target.layer->weight; }
};

/// The target with its mask of `masks`, before its weight is changed. ConfigError without a mask
/// and for a float16 base, ShapeError where the mask does not fit or the weight cannot be written.
SHIRA_API MaskedTarget masked_target(LayerTarget target, const MaskMap& masks);

/// The masked entries in the wide dtype, float32 (float64 for a float64 base).
SHIRA_API torch::Tensor wide_entries(const MaskedTarget& target);

/// Writes `values` (nnz) into the weight, rounded to its dtype.
SHIRA_API void publish_entries(const MaskedTarget& target, const torch::Tensor& values);

/// Adds the entries as they are in the weight, bit for bit.
SHIRA_API void extract_entries(const MaskedTarget& target, SparseAdapter& adapter);

}  // namespace shira
