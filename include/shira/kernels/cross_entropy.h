// Cross-entropy of rows of logits and its gradient, in place.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/export.h>

#include <cstdint>

namespace shira {

/// Logits (rows, classes) of one dtype: F32, F64 or BF16.
struct LogitsShape {
  DType dtype = DType::kF32;
  std::int64_t rows = 0;
  std::int64_t classes = 0;
};

/// losses[r] = log(sum(exp(logits[r]))) - logits[r][labels[r]], computed in float32 (float64 for
/// F64). ShapeError for a label that is no class.
SHIRA_API void cross_entropy(const LogitsShape& shape, const void* logits,
                             const std::int64_t* labels, double* losses);

/// The same, and overwrites the logits with the gradient of the losses' sum: softmax(logits), less
/// one at the label.
SHIRA_API void cross_entropy_to_grad(const LogitsShape& shape, void* logits,
                                     const std::int64_t* labels, double* losses);

}  // namespace shira
