// The gradient of a weight, whole or for the masked entries alone (a sampled dense-dense product,
// SDDMM).
#pragma once

#include <shira/base/export.h>
#include <shira/kernels/sampled_convolution.h>

#include <torch/types.h>

namespace shira {

/// The whole gradient grad^T input (out, in) of a linear layer's weight: `grad` (T, out), `input`
/// (T, in); summed and returned in float32 (float64 for float64 operands).
SHIRA_API torch::Tensor dense_weight_grad(const torch::Tensor& grad, const torch::Tensor& input);

/// The same for a convolution's weight (out, in, kh, kw): `grad` (B, out, H', W'), `input` (B, in,
/// H, W); `shape` has their sizes.
SHIRA_API torch::Tensor dense_convolution_grad(const ConvolutionShape& shape,
                                               const torch::Tensor& grad,
                                               const torch::Tensor& input);

/// dv[k] = sum_t grad[t, row_k] * input[t, col_k] for the flat positions `indices` (nnz) of a
/// weight (out, in), as indices_for has them (ascending, none twice, contiguous); `grad` (T, out),
/// `input` (T, in). Accumulated and returned in float32 (float64 for float64 operands). ShapeError
/// for operands of different T.
SHIRA_API torch::Tensor sampled_weight_grad(const torch::Tensor& grad, const torch::Tensor& input,
                                            const torch::Tensor& indices);

/// The same of a convolution's weight.
SHIRA_API torch::Tensor sampled_convolution_grad(const ConvolutionShape& shape,
                                                 const torch::Tensor& grad,
                                                 const torch::Tensor& input,
                                                 const torch::Tensor& indices);

}  // namespace shira
