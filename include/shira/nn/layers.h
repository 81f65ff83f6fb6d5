// The small layers of a transformer: embedding and root-mean-square norm.
#pragma once

#include <shira/base/export.h>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

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

}  // namespace shira::nn
