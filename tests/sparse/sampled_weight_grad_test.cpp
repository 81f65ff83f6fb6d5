// The gradient of masked entries against the dense product in float64.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/sampled_weight_grad.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace shira {
namespace {

/// Against the dense product, within the rounding of float32 sums.
void expect_grads(const SparseMask& mask, std::int64_t tokens, torch::ScalarType dtype) {
  torch::manual_seed(3);
  const torch::Tensor grad = at::randn({tokens, mask.shape()[0]}).to(dtype);
  const torch::Tensor input = at::randn({tokens, mask.shape()[1]}).to(dtype);
  const torch::Tensor got = sampled_weight_grad(grad, input, mask.indices());
  const torch::Tensor wide_grad = grad.to(torch::kFloat64), wide_input = input.to(torch::kFloat64);
  const auto gather = [&](const torch::Tensor& dense) {
    return dense.flatten().index_select(0, mask.indices());
  };
  const torch::Tensor expected = gather(wide_grad.t().mm(wide_input));
  const torch::Tensor magnitude = gather(wide_grad.abs().t().mm(wide_input.abs()));
  EXPECT_EQ(got.scalar_type(), at::promote_types(dtype, torch::kFloat32));
  EXPECT_LE(((got - expected).abs() / magnitude).max().item<double>(), 1e-6);
}

TEST(SampledWeightGrad, EqualsTheDenseProductGathered) {
  const torch::Tensor weight = at::randn({48, 72});
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16, torch::kFloat64}) {
    for (const double density : {0.01, 0.2, 0.6, 1.0}) {
      const auto mask = rand_mask({.density = density}, 1)("weight", weight);
      for (const std::int64_t tokens : {1, 50, 200}) expect_grads(mask, tokens, dtype);
    }
  }
}

TEST(SampledWeightGrad, TakesRowsThatAreMaskedWhole) {
  const torch::Tensor weight = at::randn({48, 72});
  for (const StructAxis axis : {StructAxis::kRow, StructAxis::kColumn}) {
    const auto mask = struct_mask({.density = 0.1}, axis, /*offset=*/0)("weight", weight);
    expect_grads(mask, 33, torch::kFloat32);
    expect_grads(mask, 33, torch::kBFloat16);
  }
  // The first and the last row, one entry between them, and nothing but whole rows.
  torch::Tensor dense = at::zeros({5, 4}, torch::kBool);
  dense[0].fill_(true);
  dense[4].fill_(true);
  expect_grads(SparseMask::from_dense(dense.clone()), 9, torch::kFloat32);
  dense[2][3] = true;
  expect_grads(SparseMask::from_dense(at::cat({dense, at::zeros({15, 4}, torch::kBool)})), 9,
               torch::kFloat32);
}

TEST(SampledWeightGrad, RefusesOperandsThatDoNotBelongTogether) {
  const torch::Tensor indices = at::arange(0, 12, torch::kInt32);
  expect_error<ShapeError>(
      [&] { sampled_weight_grad(at::ones({5, 4}), at::ones({3, 6}), indices); },
      {"[5, 4]", "[3, 6]", "(T, out)"});
  expect_error<ShapeError>(
      [&] { sampled_weight_grad(at::ones({5, 4}), at::ones({5, 6}), indices.slice(0, 0, 12, 2)); },
      {"contiguous"});
}

TEST(SampledWeightGrad, TakesOperandsThatAreNotContiguous) {
  const torch::Tensor grad = at::randn({6, 10}).t(), input = at::randn({12, 10}).t();
  const torch::Tensor indices = at::tensor({0, 5, 71}, torch::kInt32);
  const torch::Tensor expected = grad.t().mm(input).flatten().index_select(0, indices);
  EXPECT_TRUE(at::allclose(sampled_weight_grad(grad, input, indices), expected, 1e-5, 1e-6));
}

struct Convolution {
  std::vector<std::int64_t> input;   // (B, in, H, W)
  std::vector<std::int64_t> weight;  // (out, in, kh, kw)
  std::array<std::int64_t, 2> stride = {1, 1}, padding = {0, 0}, dilation = {1, 1};
};

/// Against the weight's gradient by autograd in float64.
void expect_convolution_grads(const Convolution& net, double density, torch::ScalarType dtype) {
  torch::manual_seed(4);
  const torch::Tensor input = at::randn(net.input).to(dtype);
  const torch::Tensor weight = at::randn(net.weight, torch::kFloat64).requires_grad_();
  const auto convolve = [&](const torch::Tensor& x, const torch::Tensor& w) {
    return at::conv2d(x, w, /*bias=*/{}, net.stride, net.padding, net.dilation);
  };
  const torch::Tensor output = convolve(input.to(torch::kFloat64), weight);
  const torch::Tensor grad = at::randn(output.sizes()).to(dtype);
  output.backward(grad.to(torch::kFloat64));
  const auto mask = rand_mask({.density = density}, 1)("weight", weight.detach());
  const ConvolutionShape shape = {to_dtype(dtype),
                                  net.input[0],
                                  net.input[1],
                                  net.weight[0],
                                  {net.input[2], net.input[3]},
                                  {output.size(2), output.size(3)},
                                  {net.weight[2], net.weight[3]},
                                  net.stride,
                                  net.padding,
                                  net.dilation};
  const torch::Tensor got = sampled_convolution_grad(shape, grad, input, mask.indices());
  const torch::Tensor expected = weight.grad().flatten().index_select(0, mask.indices());
  EXPECT_TRUE(at::allclose(got.to(torch::kFloat64), expected, 1e-4, 1e-4))
      << (got - expected).abs().max().item<double>();
}

TEST(SampledConvolutionGrad, EqualsAutogradsGathered) {
  const std::vector<Convolution> nets = {
      {{2, 6, 9, 7}, {5, 6, 3, 3}, {1, 1}, {1, 1}},
      {{1, 3, 20, 30}, {4, 3, 3, 3}, {1, 1}, {1, 1}},  // several blocks of positions
      {{2, 4, 16, 16}, {8, 4, 3, 3}, {2, 2}, {1, 1}},
      {{1, 4, 13, 17}, {3, 4, 5, 3}, {3, 2}, {2, 0}, {2, 3}},
      {{3, 8, 6, 6}, {16, 8, 1, 1}},
      {{1, 2, 3, 3}, {2, 2, 3, 3}, {1, 1}, {4, 4}},  // padding beyond what the kernel reaches
      {{1, 2, 8, 8}, {2, 2, 8, 8}}};
  for (const Convolution& net : nets) {
    for (const double density : {0.1, 0.6}) {
      for (const auto dtype : {torch::kFloat32, torch::kBFloat16, torch::kFloat64}) {
        expect_convolution_grads(net, density, dtype);
      }
    }
  }
}

TEST(SampledConvolutionGrad, TakesChannelsLast) {
  const torch::Tensor input = at::randn({1, 3, 5, 5}).contiguous(at::MemoryFormat::ChannelsLast);
  const torch::Tensor grad = at::randn({1, 2, 5, 5}).contiguous(at::MemoryFormat::ChannelsLast);
  const torch::Tensor indices = at::tensor({0, 10, 53}, torch::kInt32);
  const ConvolutionShape shape = {DType::kF32, 1, 3, 2, {5, 5}, {5, 5}, {3, 3}, {1, 1}, {1, 1}};
  EXPECT_TRUE(
      sampled_convolution_grad(shape, grad, input, indices)
          .equal(sampled_convolution_grad(shape, grad.contiguous(), input.contiguous(), indices)));
}

}  // namespace
}  // namespace shira
