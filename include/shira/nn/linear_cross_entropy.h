// Cross-entropy of a frozen linear head, without ever holding all its logits.
#pragma once

#include <shira/base/export.h>

#include <torch/types.h>

#include <cstdint>

namespace shira::nn {

/// Rows whose logits exist at a time: so many that reading the head's weight for each chunk does
/// not matter.
inline constexpr std::int64_t kCrossEntropyRows = 256;

/// The sum over rows of -log softmax(hidden W^T)[label], a scalar in float32 (float64 for float64):
/// `hidden` (rows, dim), `weight` (classes, dim) frozen, `labels` (rows) int64. Logits have the
/// operands' dtype, losses are computed in float32. Goes over the rows in chunks and computes the
/// gradient for `hidden` along with the loss.
SHIRA_API torch::Tensor linear_cross_entropy(const torch::Tensor& hidden,
                                             const torch::Tensor& weight,
                                             const torch::Tensor& labels);

}  // namespace shira::nn
