// The forward pass of a layer whose masked entries are trained.
#pragma once

#include <shira/nn/layer.h>

#include <torch/types.h>

namespace shira::detail {

/// What the layer makes of `input` with its weight as it is; a gradient for the input, and for
/// `values` (nnz), which stand for the weight's entries at `indices` (nnz; as indices_for has
/// them), that of those entries.
torch::Tensor packed_forward(const torch::Tensor& input, const nn::Layer& layer,
                             const torch::Tensor& values, const torch::Tensor& indices);

}  // namespace shira::detail
