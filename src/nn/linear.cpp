// A frozen weight has its own autograd function: its products are fast_linear's.
#include <shira/base/error.h>
#include <shira/nn/linear.h>
#include <shira/nn/once_differentiable.h>
#include <shira/sparse/fast_linear.h>
#include <shira/sparse/sampled_weight_grad.h>

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

namespace shira::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

std::optional<torch::Tensor> as_optional(const torch::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

/// (tokens, features)
torch::Tensor as_rows(const torch::Tensor& tensor) { return tensor.reshape({-1, tensor.size(-1)}); }

/// A gradient for the input alone.
class FrozenLinearFunction : public torch::autograd::Function<FrozenLinearFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight,
                               const std::optional<torch::Tensor>& bias) {
    context->save_for_backward({weight});
    return fast_linear(input, weight, bias.value_or(torch::Tensor()));
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    check_once_differentiable("Linear");
    const torch::Tensor weight = context->get_saved_variables()[0];
    return {fast_linear(grads[0], weight.t()), {}, {}};
  }
};

}  // namespace

LinearImpl::LinearImpl(torch::Tensor weight_in, torch::Tensor bias_in)
    : Layer(std::move(weight_in), std::move(bias_in)) {
  SHIRA_CHECK(ShapeError, weight.dim() == 2, "[Linear] got a weight of ", weight.sizes(),
              ", expected (out, in).");
}

torch::Tensor LinearImpl::apply(const torch::Tensor& input, const torch::Tensor& other,
                                const torch::Tensor& bias_in) const {
  return at::linear(input, other, as_optional(bias_in));
}

torch::Tensor LinearImpl::frozen(const torch::Tensor& input, const torch::Tensor& bias_in) const {
  return FrozenLinearFunction::apply(input, weight, as_optional(bias_in));
}

torch::Tensor LinearImpl::mix_channels(const torch::Tensor& input,
                                       const torch::Tensor& factor) const {
  return at::linear(input, factor);
}

torch::Tensor LinearImpl::input_grad(const torch::Tensor& grad,
                                     const torch::Tensor& /*input*/) const {
  return fast_linear(grad, weight.t());
}

torch::Tensor LinearImpl::weight_grad(const torch::Tensor& grad, const torch::Tensor& input) const {
  return dense_weight_grad(as_rows(grad), as_rows(input));
}

torch::Tensor LinearImpl::entries_grad(const torch::Tensor& grad, const torch::Tensor& input,
                                       const torch::Tensor& indices) const {
  return sampled_weight_grad(as_rows(grad), as_rows(input), indices);
}

}  // namespace shira::nn
