// The weight itself never requires a gradient.
#include "packed_linear.h"

#include <shira/nn/linear.h>
#include <shira/sparse/sampled_weight_grad.h>

#include <torch/csrc/autograd/custom_function.h>

#include <optional>

namespace shira::detail {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class PackedLinearFunction : public torch::autograd::Function<PackedLinearFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight,
                               const std::optional<torch::Tensor>& bias,
                               const torch::Tensor& /*values*/, const torch::Tensor& indices) {
    // Saved weights are version-checked: a scatter between forward and backward raises.
    context->save_for_backward({input, weight, indices});
    return nn::fast_linear(input, weight, bias.value_or(torch::Tensor()));
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor& input = saved[0];
    const torch::Tensor& weight = saved[1];
    const torch::Tensor& grad = grads[0];
    torch::Tensor input_grad;
    if (context->needs_input_grad(0)) input_grad = nn::fast_linear(grad, weight.t());
    const torch::Tensor values_grad = sampled_weight_grad(
        grad.reshape({-1, weight.size(0)}), input.reshape({-1, weight.size(1)}), saved[2]);
    return {input_grad, {}, {}, values_grad, {}};
  }
};

}  // namespace

torch::Tensor packed_linear(const torch::Tensor& input, const torch::Tensor& weight,
                            const torch::Tensor& bias, const torch::Tensor& values,
                            const torch::Tensor& indices) {
  const auto given_bias = bias.defined() ? std::optional(bias) : std::nullopt;
  return PackedLinearFunction::apply(input, weight, given_bias, values, indices);
}

}  // namespace shira::detail
