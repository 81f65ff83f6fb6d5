// Plain forms, correct in every dtype.
#include <shira/nn/layers.h>

#include <ATen/Functions.h>

namespace shira::nn {

EmbeddingImpl::EmbeddingImpl(torch::Tensor weight_in) {
  weight = register_parameter("weight", std::move(weight_in), /*requires_grad=*/false);
}

torch::Tensor EmbeddingImpl::forward(const torch::Tensor& ids) {
  return at::embedding(weight, ids);
}

RmsNormImpl::RmsNormImpl(torch::Tensor weight_in, double eps_in) : eps(eps_in) {
  weight = register_parameter("weight", std::move(weight_in), /*requires_grad=*/false);
}

torch::Tensor RmsNormImpl::forward(const torch::Tensor& input) {
  const auto wide = at::promote_types(input.scalar_type(), torch::kFloat32);
  const torch::Tensor x = input.to(wide);
  const torch::Tensor scale = at::rsqrt(x.square().mean({-1}, /*keepdim=*/true) + eps);
  return weight * (x * scale).to(input.scalar_type());
}

}  // namespace shira::nn
