// LibTorch's convolution, which knows itself that a frozen weight needs no gradient.
#include <shira/base/error.h>
#include <shira/nn/conv2d.h>
#include <shira/sparse/sampled_weight_grad.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>

#include <optional>

namespace shira::nn {
namespace {

torch::Tensor convolution(const torch::Tensor& input, const torch::Tensor& weight,
                          const torch::Tensor& bias, const Conv2dGeometry& geometry) {
  return at::conv2d(input, weight, bias.defined() ? std::optional(bias) : std::nullopt,
                    geometry.stride, geometry.padding, geometry.dilation);
}

ConvolutionShape shape_of(const torch::Tensor& grad, const torch::Tensor& input,
                          const torch::Tensor& weight, const Conv2dGeometry& geometry) {
  return {.dtype = to_dtype(input.scalar_type()),
          .batch = input.size(0),
          .in = input.size(1),
          .out = grad.size(1),
          .input_size = {input.size(2), input.size(3)},
          .output_size = {grad.size(2), grad.size(3)},
          .kernel = {weight.size(2), weight.size(3)},
          .stride = geometry.stride,
          .padding = geometry.padding,
          .dilation = geometry.dilation};
}

}  // namespace

Conv2dImpl::Conv2dImpl(torch::Tensor weight_in, torch::Tensor bias_in,
                       const Conv2dGeometry& geometry_in)
    : Layer(std::move(weight_in), std::move(bias_in)), geometry(geometry_in) {
  SHIRA_CHECK(ShapeError, weight.dim() == 4, "[Conv2d] got a weight of ", weight.sizes(),
              ", expected (out, in, kh, kw).");
}

torch::Tensor Conv2dImpl::apply(const torch::Tensor& input, const torch::Tensor& other,
                                const torch::Tensor& bias_in) const {
  return convolution(input, other, bias_in, geometry);
}

torch::Tensor Conv2dImpl::frozen(const torch::Tensor& input, const torch::Tensor& bias_in) const {
  return convolution(input, weight.detach(), bias_in, geometry);
}

torch::Tensor Conv2dImpl::mix_channels(const torch::Tensor& input,
                                       const torch::Tensor& factor) const {
  return at::conv2d(input, factor);
}

torch::Tensor Conv2dImpl::per_output(const torch::Tensor& values) const {
  return values.view({-1, 1, 1});
}

torch::Tensor Conv2dImpl::input_grad(const torch::Tensor& grad, const torch::Tensor& input) const {
  return std::get<0>(at::convolution_backward(
      grad, input, weight, /*bias_sizes=*/std::nullopt, geometry.stride, geometry.padding,
      geometry.dilation, /*transposed=*/false, /*output_padding=*/{0, 0}, /*groups=*/1,
      /*output_mask=*/{true, false, false}));
}

torch::Tensor Conv2dImpl::weight_grad(const torch::Tensor& grad, const torch::Tensor& input) const {
  return dense_convolution_grad(shape_of(grad, input, weight, geometry), grad, input);
}

torch::Tensor Conv2dImpl::entries_grad(const torch::Tensor& grad, const torch::Tensor& input,
                                       const torch::Tensor& indices) const {
  return sampled_convolution_grad(shape_of(grad, input, weight, geometry), grad, input, indices);
}

}  // namespace shira::nn
