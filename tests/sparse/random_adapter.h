// A module of a few weights and adapters of random values for it.
#pragma once

#include <shira/sparse/mask_builders.h>
#include <shira/sparse/scatter_into.h>
#include <shira/sparse/sparse_adapter.h>

#include <ATen/Functions.h>
#include <torch/nn/module.h>

namespace shira {

/// Weights "a", "b", ... of the given shapes.
struct FewWeights : torch::nn::Module {
  FewWeights(const std::vector<std::vector<std::int64_t>>& shapes,
             const torch::TensorOptions& options) {
    for (std::size_t i = 0; i < shapes.size(); ++i) {
      register_parameter(std::string(1, static_cast<char>('a' + i)),
                         at::randn(shapes[i]).to(options), /*requires_grad=*/false);
    }
  }
};

/// On the CPU.
inline torch::Tensor bits(const torch::Tensor& tensor) {
  return tensor.detach().cpu().clone().view(torch::kUInt8);
}

/// The bits of every parameter.
inline std::vector<torch::Tensor> bits_of(const torch::nn::Module& model) {
  std::vector<torch::Tensor> all;
  for (const torch::Tensor& parameter : model.parameters()) all.push_back(bits(parameter));
  return all;
}

inline bool are_equal(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const torch::Tensor& x, const torch::Tensor& y) { return x.equal(y); });
}

/// New random values under rand masks of `density` of every parameter, as a trainer would leave
/// them. The model's weights are the base.
inline SparseAdapter random_adapter(const torch::nn::Module& model, std::uint64_t seed,
                                    double density = 0.2) {
  SparseAdapter adapter;
  for (const auto& item : model.named_parameters()) {
    const torch::Tensor& weight = item.value();
    const SparseMask mask = rand_mask({.density = density}, seed)(item.key(), weight);
    const auto dtype = weight.scalar_type();
    const auto checksum = base_checksum(gather_from(weight.cpu(), mask.indices()), dtype);
    adapter.base_dtype = dtype;
    adapter.tensors.emplace(item.key(),
                            SparseTensor{mask, at::randn({mask.nnz()}).to(dtype), checksum});
  }
  return adapter;
}

}  // namespace shira
