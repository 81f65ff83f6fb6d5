// The root-mean-square norm has a kernel for a frozen weight; LibTorch's operations serve the rest.
#include "float_kernels.h"

#include <shira/kernels/rms_norm.h>
#include <shira/nn/layers.h>
#include <shira/nn/once_differentiable.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

namespace shira::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

NormShape norm_shape(const torch::Tensor& input) {
  const std::int64_t width = input.size(-1);
  return {to_dtype(input.scalar_type()), input.numel() / width, width};
}

/// A gradient for the input alone.
class RmsNormFunction : public torch::autograd::Function<RmsNormFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight, double eps) {
    context->save_for_backward({input, weight});
    context->saved_data["eps"] = eps;
    torch::Tensor out = at::empty_like(input);
    rms_norm(norm_shape(input), input.const_data_ptr(), weight.const_data_ptr(), eps,
             out.mutable_data_ptr());
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    check_once_differentiable("RmsNorm");
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &input = saved[0], &weight = saved[1], grad = grads[0].contiguous();
    torch::Tensor input_grad = at::empty_like(input);
    rms_norm_backward(norm_shape(input), grad.const_data_ptr(), input.const_data_ptr(),
                      weight.const_data_ptr(), context->saved_data["eps"].toDouble(),
                      input_grad.mutable_data_ptr());
    return {input_grad, {}, {}};
  }
};

}  // namespace

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
  if (has_float_kernels(input) && !weight.requires_grad() &&
      weight.scalar_type() == input.scalar_type() && weight.numel() == input.size(-1)) {
    return RmsNormFunction::apply(input.contiguous(), weight.contiguous(), eps);
  }
  const auto wide = at::promote_types(input.scalar_type(), torch::kFloat32);
  const torch::Tensor x = input.to(wide);
  const torch::Tensor scale = at::rsqrt(x.square().mean({-1}, /*keepdim=*/true) + eps);
  return weight * (x * scale).to(input.scalar_type());
}

LayerNormImpl::LayerNormImpl(torch::Tensor weight_in, torch::Tensor bias_in, double eps_in)
    : eps(eps_in) {
  weight = register_parameter("weight", std::move(weight_in), /*requires_grad=*/false);
  bias = register_parameter("bias", std::move(bias_in), /*requires_grad=*/false);
}

torch::Tensor LayerNormImpl::forward(const torch::Tensor& input) {
  return at::layer_norm(input, weight.sizes(), weight, bias, eps);
}

GroupNormImpl::GroupNormImpl(std::int64_t groups_in, torch::Tensor weight_in, torch::Tensor bias_in,
                             double eps_in)
    : groups(groups_in), eps(eps_in) {
  weight = register_parameter("weight", std::move(weight_in), /*requires_grad=*/false);
  bias = register_parameter("bias", std::move(bias_in), /*requires_grad=*/false);
}

torch::Tensor GroupNormImpl::forward(const torch::Tensor& input) {
  return at::group_norm(input, groups, weight, bias, eps);
}

}  // namespace shira::nn
