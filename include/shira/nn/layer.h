// A layer with a weight and a socket: an object plugged into it takes over forward. Methods are
// plugs, models only know the layers.
#pragma once

#include <shira/base/export.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <memory>

namespace shira::nn {

class Layer;

/// What takes over a layer's forward.
class SHIRA_API LayerPlug {
 public:
  virtual ~LayerPlug() = default;
  virtual torch::Tensor forward(const torch::Tensor& input, const Layer& layer) = 0;
};

/// Linear and Conv2d: an output channel for each row of the weight, seen as the matrix
/// (out, in * kh * kw).
class SHIRA_API Layer : public torch::nn::Module {
 public:
  /// Takes the tensors as they are: `weight` (out, ...), `bias` (out) or undefined.
  Layer(torch::Tensor weight, torch::Tensor bias);

  /// What the layer makes of `input`, or whatever the plug makes of it.
  torch::Tensor forward(const torch::Tensor& input);

  /// The layer's operation with another weight of the same kernel, differentiable in all operands.
  virtual torch::Tensor apply(const torch::Tensor& input, const torch::Tensor& other,
                              const torch::Tensor& bias = {}) const = 0;
  /// The layer's own product without a bias, or with; a gradient for `input` alone.
  virtual torch::Tensor frozen(const torch::Tensor& input,
                               const torch::Tensor& bias = {}) const = 0;
  /// Mixes channels at each place: `factor` (out, r), or (out, r, 1, 1) for a convolution.
  virtual torch::Tensor mix_channels(const torch::Tensor& input,
                                     const torch::Tensor& factor) const = 0;
  /// `values` (out) in a shape that broadcasts over the outputs.
  virtual torch::Tensor per_output(const torch::Tensor& values) const = 0;

  // The parts of the backward pass, for autograd functions of plugs.
  virtual torch::Tensor input_grad(const torch::Tensor& grad, const torch::Tensor& input) const = 0;
  /// Dense, in at least float32.
  virtual torch::Tensor weight_grad(const torch::Tensor& grad,
                                    const torch::Tensor& input) const = 0;
  /// (nnz) at the flat positions `indices`, as indices_for has them; in at least float32.
  virtual torch::Tensor entries_grad(const torch::Tensor& grad, const torch::Tensor& input,
                                     const torch::Tensor& indices) const = 0;

  torch::Tensor weight;
  torch::Tensor bias;  // (out) or undefined
  std::shared_ptr<LayerPlug> plug;

 protected:
  /// Whether neither weight nor bias is trained.
  bool is_frozen() const;
};

}  // namespace shira::nn
