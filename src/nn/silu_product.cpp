// Keeps gate and up for the backward pass, and not silu(gate).
#include "float_kernels.h"

#include <shira/kernels/silu_product.h>
#include <shira/nn/once_differentiable.h>
#include <shira/nn/silu_product.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

namespace shira::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class SiluProductFunction : public torch::autograd::Function<SiluProductFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& gate,
                               const torch::Tensor& up) {
    context->save_for_backward({gate, up});
    torch::Tensor out = at::empty_like(gate);
    shira::silu_product(to_dtype(gate.scalar_type()), gate.numel(), gate.const_data_ptr(),
                        up.const_data_ptr(), out.mutable_data_ptr());
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    check_once_differentiable("silu_product");
    const variable_list saved = context->get_saved_variables();
    const torch::Tensor &gate = saved[0], &up = saved[1], grad = grads[0].contiguous();
    torch::Tensor gate_grad = at::empty_like(gate), up_grad = at::empty_like(up);
    shira::silu_product_backward(to_dtype(gate.scalar_type()), gate.numel(), grad.const_data_ptr(),
                                 gate.const_data_ptr(), up.const_data_ptr(),
                                 gate_grad.mutable_data_ptr(), up_grad.mutable_data_ptr());
    return {gate_grad, up_grad};
  }
};

}  // namespace

torch::Tensor silu_product(const torch::Tensor& gate, const torch::Tensor& up) {
  const bool are_alike = gate.scalar_type() == up.scalar_type() && gate.sizes() == up.sizes();
  if (!has_float_kernels(gate) || !are_alike) return at::silu(gate) * up;
  return SiluProductFunction::apply(gate.contiguous(), up.contiguous());
}

}  // namespace shira::nn
