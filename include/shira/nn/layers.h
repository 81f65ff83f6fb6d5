// The small layers: embedding and norms.
#pragma once

#include <shira/base/export.h>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>

namespace shira::nn {

/// Rows of a table by id.
class SHIRA_API EmbeddingImpl : public torch::nn::Module {
 public:
  explicit EmbeddingImpl(torch::Tensor weight);
  /// `ids` (...) int64 -> (..., dim).
  torch::Tensor forward(const torch::Tensor& ids);

  torch::Tensor weight;  // (vocabulary, dim)
};
TORCH_MODULE(Embedding);

/// y = weight * x / sqrt(mean(x^2) + eps), the mean in float32 (Zhang and Sennrich 2019; rounding
/// as in transformers' LlamaRMSNorm).
class SHIRA_API RmsNormImpl : public torch::nn::Module {
 public:
  RmsNormImpl(torch::Tensor weight, double eps);
  /// (..., dim) -> (..., dim).
  torch::Tensor forward(const torch::Tensor& input);

  torch::Tensor weight;  // (dim)
  double eps;
};
TORCH_MODULE(RmsNorm);

/// (x - mean) / sqrt(variance + eps) * weight + bias over the last axis (Ba et al. 2016).
class SHIRA_API LayerNormImpl : public torch::nn::Module {
 public:
  LayerNormImpl(torch::Tensor weight, torch::Tensor bias, double eps);
  /// (..., dim) -> (..., dim).
  torch::Tensor forward(const torch::Tensor& input);

  torch::Tensor weight, bias;  // (dim)
  double eps;
};
TORCH_MODULE(LayerNorm);

/// The same over each group of channels (Wu and He 2018).
class SHIRA_API GroupNormImpl : public torch::nn::Module {
 public:
  GroupNormImpl(std::int64_t groups, torch::Tensor weight, torch::Tensor bias, double eps);
  /// (B, channels, ...) -> (B, channels, ...).
  torch::Tensor forward(const torch::Tensor& input);

  torch::Tensor weight, bias;  // (channels)
  std::int64_t groups;         // a divisor of channels
  double eps;
};
TORCH_MODULE(GroupNorm);

}  // namespace shira::nn
