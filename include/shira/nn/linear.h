// A linear layer with a socket: an object plugged into it takes over forward. Methods are plugs,
// models only know this layer.
#pragma once

#include <shira/base/export.h>
#include <shira/nn/fast_linear.h>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <memory>

namespace shira::nn {

/// fast_linear with a gradient for the input alone: what a layer computes whose weight is not
/// trained. No float32 copy of the weight is kept from forward to backward.
SHIRA_API torch::Tensor frozen_linear(const torch::Tensor& input, const torch::Tensor& weight,
                                      const torch::Tensor& bias = {});

/// What takes over a Linear's forward.
class SHIRA_API LinearPlug {
 public:
  virtual ~LinearPlug() = default;
  /// `input` (..., in), `weight` (out, in), `bias` (out) or undefined -> (..., out).
  virtual torch::Tensor forward(const torch::Tensor& input, const torch::Tensor& weight,
                                const torch::Tensor& bias) = 0;
};

/// y = x W^T + b, or whatever the plug makes of it.
class SHIRA_API LinearImpl : public torch::nn::Module {
 public:
  /// Takes the tensors as they are: `weight` (out, in), `bias` (out) or undefined.
  explicit LinearImpl(torch::Tensor weight, torch::Tensor bias = {});

  torch::Tensor forward(const torch::Tensor& input);

  torch::Tensor weight;  // (out, in)
  torch::Tensor bias;    // (out) or undefined
  std::shared_ptr<LinearPlug> plug;
};
TORCH_MODULE(Linear);

}  // namespace shira::nn
