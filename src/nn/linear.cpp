// The unplugged case with a frozen weight has its own autograd function, so that a float32 copy of
// the weight is never kept from forward to backward.
#include <shira/nn/linear.h>

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
    const torch::Tensor weight = context->get_saved_variables()[0];
    return {fast_linear(grads[0], weight.t()), {}, {}};
  }
};

}  // namespace

torch::Tensor frozen_linear(const torch::Tensor& input, const torch::Tensor& weight,
                            const torch::Tensor& bias) {
  return FrozenLinearFunction::apply(input, weight, as_optional(bias));
}

LinearImpl::LinearImpl(torch::Tensor weight_in, torch::Tensor bias_in) {
  weight = register_parameter("weight", std::move(weight_in), /*requires_grad=*/false);
  if (bias_in.defined()) {
    bias = register_parameter("bias", std::move(bias_in), /*requires_grad=*/false);
  }
}

torch::Tensor LinearImpl::forward(const torch::Tensor& input) {
  if (plug) return plug->forward(input, weight, bias);
  const bool is_trained = weight.requires_grad() || (bias.defined() && bias.requires_grad());
  if (is_trained) return at::linear(input, weight, as_optional(bias));
  return frozen_linear(input, weight, bias);
}

}  // namespace shira::nn
