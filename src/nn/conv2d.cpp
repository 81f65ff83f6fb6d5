// LibTorch's convolution; oneDNN computes it on the CPU. It also knows that a frozen weight needs
// no gradient.
#include <shira/nn/conv2d.h>

#include <ATen/Functions.h>

#include <optional>

namespace shira::nn {

torch::Tensor conv2d(const torch::Tensor& input, const torch::Tensor& weight,
                     const torch::Tensor& bias, const Conv2dGeometry& geometry) {
  return at::conv2d(input, weight, bias.defined() ? std::optional(bias) : std::nullopt,
                    geometry.stride, geometry.padding, geometry.dilation);
}

torch::Tensor conv2d_input_grad(const torch::Tensor& grad, const torch::Tensor& input,
                                const torch::Tensor& weight, const Conv2dGeometry& geometry) {
  return std::get<0>(at::convolution_backward(
      grad, input, weight, /*bias_sizes=*/std::nullopt, geometry.stride, geometry.padding,
      geometry.dilation, /*transposed=*/false, /*output_padding=*/{0, 0}, /*groups=*/1,
      /*output_mask=*/{true, false, false}));
}

Conv2dImpl::Conv2dImpl(torch::Tensor weight_in, torch::Tensor bias_in,
                       const Conv2dGeometry& geometry_in)
    : geometry(geometry_in) {
  weight = register_parameter("weight", std::move(weight_in), /*requires_grad=*/false);
  if (bias_in.defined()) {
    bias = register_parameter("bias", std::move(bias_in), /*requires_grad=*/false);
  }
}

torch::Tensor Conv2dImpl::forward(const torch::Tensor& input) {
  if (plug) return plug->forward(input, weight, bias, geometry);
  return conv2d(input, weight, bias, geometry);
}

}  // namespace shira::nn
