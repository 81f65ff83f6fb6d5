// A two-dimensional convolution.
#pragma once

#include <shira/base/export.h>
#include <shira/nn/layer.h>

#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <array>
#include <cstdint>

namespace shira::nn {

/// (height, width); without groups.
struct Conv2dGeometry {
  std::array<std::int64_t, 2> stride = {1, 1};
  std::array<std::int64_t, 2> padding = {0, 0};  // zeros
  std::array<std::int64_t, 2> dilation = {1, 1};
};

/// Input (B, in, H, W), weight (out, in, kh, kw), output (B, out, H', W').
class SHIRA_API Conv2dImpl : public Layer {
 public:
  Conv2dImpl(torch::Tensor weight, torch::Tensor bias, const Conv2dGeometry& geometry = {});

  torch::Tensor apply(const torch::Tensor& input, const torch::Tensor& other,
                      const torch::Tensor& bias = {}) const override;
  torch::Tensor frozen(const torch::Tensor& input, const torch::Tensor& bias = {}) const override;
  torch::Tensor mix_channels(const torch::Tensor& input,
                             const torch::Tensor& factor) const override;
  torch::Tensor per_output(const torch::Tensor& values) const override;

  torch::Tensor input_grad(const torch::Tensor& grad, const torch::Tensor& input) const override;
  torch::Tensor weight_grad(const torch::Tensor& grad, const torch::Tensor& input) const override;
  torch::Tensor entries_grad(const torch::Tensor& grad, const torch::Tensor& input,
                             const torch::Tensor& indices) const override;

  const Conv2dGeometry geometry;
};
TORCH_MODULE(Conv2d);

}  // namespace shira::nn
