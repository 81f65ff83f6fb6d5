// The unplugged case costs one branch.
#include <shira/nn/linear.h>

#include <ATen/Functions.h>

namespace shira::nn {

LinearImpl::LinearImpl(torch::Tensor weight_in, torch::Tensor bias_in) {
  weight = register_parameter("weight", std::move(weight_in), /*requires_grad=*/false);
  if (bias_in.defined()) {
    bias = register_parameter("bias", std::move(bias_in), /*requires_grad=*/false);
  }
}

torch::Tensor LinearImpl::forward(const torch::Tensor& input) {
  if (plug) return plug->forward(input, weight, bias);
  return at::linear(input, weight, bias);
}

}  // namespace shira::nn
