// The weight itself never requires a gradient.
#include "packed_layer.h"

#include <shira/nn/once_differentiable.h>

#include <torch/csrc/autograd/custom_function.h>

namespace shira::detail {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class PackedFunction : public torch::autograd::Function<PackedFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& weight, const torch::Tensor& /*values*/,
                               const torch::Tensor& indices, const nn::Layer* layer) {
    // Saved weights are version-checked: a scatter between forward and backward raises.
    context->save_for_backward({input, weight, indices});
    context->saved_data["layer"] = reinterpret_cast<std::int64_t>(layer);  // it outlives the graph
    return layer->frozen(input, layer->bias);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    nn::check_once_differentiable("packed SHiRA");
    const variable_list saved = context->get_saved_variables();
    const auto& layer = *reinterpret_cast<const nn::Layer*>(context->saved_data["layer"].toInt());
    const torch::Tensor &input = saved[0], &indices = saved[2], &grad = grads[0];
    torch::Tensor input_grad;
    if (context->needs_input_grad(0)) input_grad = layer.input_grad(grad, input);
    return {input_grad, {}, layer.entries_grad(grad, input, indices), {}, {}};
  }
};

}  // namespace

torch::Tensor packed_forward(const torch::Tensor& input, const nn::Layer& layer,
                             const torch::Tensor& values, const torch::Tensor& indices) {
  return PackedFunction::apply(input, layer.weight, values, indices, &layer);
}

}  // namespace shira::detail
