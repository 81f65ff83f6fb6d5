// A linear layer.
#pragma once

#include <shira/base/export.h>
#include <shira/nn/layer.h>

#include <torch/nn/pimpl.h>
#include <torch/types.h>

namespace shira::nn {

/// y = x W^T + b: input (..., in), weight (out, in), output (..., out).
class SHIRA_API LinearImpl : public Layer {
 public:
  explicit LinearImpl(torch::Tensor weight, torch::Tensor bias = {});

  torch::Tensor apply(const torch::Tensor& input, const torch::Tensor& other,
                      const torch::Tensor& bias = {}) const override;
  /// No float32 copy of a 16-bit weight is kept from forward to backward.
  torch::Tensor frozen(const torch::Tensor& input, const torch::Tensor& bias = {}) const override;
  torch::Tensor mix_channels(const torch::Tensor& input,
                             const torch::Tensor& factor) const override;
  torch::Tensor per_output(const torch::Tensor& values) const override { return values; }

  torch::Tensor input_grad(const torch::Tensor& grad, const torch::Tensor& input) const override;
  torch::Tensor weight_grad(const torch::Tensor& grad, const torch::Tensor& input) const override;
  torch::Tensor entries_grad(const torch::Tensor& grad, const torch::Tensor& input,
                             const torch::Tensor& indices) const override;
};
TORCH_MODULE(Linear);

}  // namespace shira::nn
