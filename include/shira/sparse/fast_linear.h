// The matrix product of the layers, by the fastest routine that LibTorch brings along.
#pragma once

#include <shira/base/export.h>

#include <torch/types.h>

namespace shira {

/// input W^T + b, rounded to the operands' dtype: `input` (..., in), `weight` (out, in), `bias`
/// (out) or undefined. Like at::linear, without a gradient (for autograd functions), and faster on
/// some CPUs: 16-bit products are computed in float32 where there is no arithmetic of that dtype
/// (LibTorch's are 6 to 130 times slower there), float32 products by oneDNN where it beats MKL.
SHIRA_API torch::Tensor fast_linear(const torch::Tensor& input, const torch::Tensor& weight,
                                    const torch::Tensor& bias = {});

}  // namespace shira
