// A two-dimensional convolution with a socket, as nn::Linear has one.
#pragma once

#include <shira/base/export.h>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <array>
#include <cstdint>
#include <memory>

namespace shira::nn {

/// (height, width); no groups.
struct Conv2dGeometry {
  std::array<std::int64_t, 2> stride = {1, 1};
  std::array<std::int64_t, 2> padding = {0, 0};  // zeros
  std::array<std::int64_t, 2> dilation = {1, 1};
};

/// The convolution of `input` (B, in, H, W) with `weight` (out, in, kh, kw) and `bias` (out) or
/// undefined.
SHIRA_API torch::Tensor conv2d(const torch::Tensor& input, const torch::Tensor& weight,
                               const torch::Tensor& bias, const Conv2dGeometry& geometry);

/// The gradient of the same for its input, (B, in, H, W) as `input`.
SHIRA_API torch::Tensor conv2d_input_grad(const torch::Tensor& grad, const torch::Tensor& input,
                                          const torch::Tensor& weight,
                                          const Conv2dGeometry& geometry);

/// What takes over a Conv2d's forward.
class SHIRA_API Conv2dPlug {
 public:
  virtual ~Conv2dPlug() = default;
  /// `input` (B, in, H, W), `weight` (out, in, kh, kw), `bias` (out) or undefined -> (B, out, H',
  /// W').
  virtual torch::Tensor forward(const torch::Tensor& input, const torch::Tensor& weight,
                                const torch::Tensor& bias, const Conv2dGeometry& geometry) = 0;
};

/// A convolution, or whatever the plug makes of it.
class SHIRA_API Conv2dImpl : public torch::nn::Module {
 public:
  /// Takes the tensors as they are: `weight` (out, in, kh, kw), `bias` (out) or undefined.
  Conv2dImpl(torch::Tensor weight, torch::Tensor bias, const Conv2dGeometry& geometry);

  torch::Tensor forward(const torch::Tensor& input);

  torch::Tensor weight;  // (out, in, kh, kw)
  torch::Tensor bias;    // (out) or undefined
  Conv2dGeometry geometry;
  std::shared_ptr<Conv2dPlug> plug;
};
TORCH_MODULE(Conv2d);

}  // namespace shira::nn
