// Activation checkpointing (Chen et al. 2016): memory for time.
#pragma once

#include <shira/base/export.h>

#include <torch/types.h>

#include <functional>

namespace shira::nn {

/// Part of a model: a tensor to a tensor.
using Block = std::function<torch::Tensor(const torch::Tensor&)>;

/// block(input). Of what its backward pass needs, only `input` is kept; the rest is computed anew
/// when the gradient arrives, with LibTorch's random generators in the state that they had. The
/// gradients are those of the plain call, bit for bit, where the block's operations give the same
/// bits each time. `block` is kept until then: what it refers to must live, and give the same
/// result.
SHIRA_API torch::Tensor checkpoint(const Block& block, const torch::Tensor& input);

/// Part of a model that reads several tensors.
using WideBlock = std::function<torch::Tensor(at::TensorList)>;

/// The same for all of `inputs`, which must be what `block` reads of the graph: a tensor that it
/// reads besides must not require a gradient, other than a parameter.
SHIRA_API torch::Tensor checkpoint(const WideBlock& block, at::TensorList inputs);

}  // namespace shira::nn
