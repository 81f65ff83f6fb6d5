// From a LoRA or DoRA adapter to a sparse one: the entries that it changes most.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/adapter_comparison.h>
#include <shira/sparse/lora_adapter.h>
#include <shira/sparse/sparse_adapter.h>

#include <map>
#include <string>

namespace shira {

struct LoraProjection {
  SparseAdapter adapter;  // kWeights; the values are merged_weight's
  /// Frobenius norm of the changes left out, relative to that of all changes: of a tensor, and of
  /// all together. 0 where LoRA changes nothing.
  std::map<std::string, double> errors;
  double error = 0.0;
};

/// Keeps round(density * numel) entries of each tensor, those with the largest absolute change.
/// Error for a tensor that the base does not have, or has in another shape.
SHIRA_API LoraProjection project_lora(const LoraAdapter& lora, const BaseTensors& base,
                                      double density);

}  // namespace shira
