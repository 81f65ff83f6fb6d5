// A trained weight takes LibTorch's own operation, a frozen one what is faster for it.
#include <shira/nn/layer.h>

namespace shira::nn {

Layer::Layer(torch::Tensor weight_in, torch::Tensor bias_in) {
  weight = register_parameter("weight", std::move(weight_in), /*requires_grad=*/false);
  if (bias_in.defined()) {
    bias = register_parameter("bias", std::move(bias_in), /*requires_grad=*/false);
  }
}

bool Layer::is_frozen() const {
  return !weight.requires_grad() && !(bias.defined() && bias.requires_grad());
}

torch::Tensor Layer::forward(const torch::Tensor& input) {
  if (plug) return plug->forward(input, *this);
  return is_frozen() ? frozen(input, bias) : apply(input, weight, bias);
}

}  // namespace shira::nn
