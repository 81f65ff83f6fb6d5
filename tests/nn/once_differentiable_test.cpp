// Gradients that are to be differentiated again: an error instead of wrong numbers.
#include <shira/base/error.h>
#include <shira/nn/checkpoint.h>
#include <shira/nn/layers.h>
#include <shira/nn/linear.h>
#include <shira/nn/linear_cross_entropy.h>
#include <shira/nn/rotary.h>
#include <shira/nn/silu_product.h>

#include <ATen/Functions.h>
#include <torch/csrc/autograd/autograd.h>

#include <gtest/gtest.h>

#include <functional>

namespace shira::nn {
namespace {

using torch::Tensor;

void expect_one_derivative(const std::function<Tensor(const Tensor&)>& function,
                           at::IntArrayRef shape) {
  const Tensor x = at::randn(shape).requires_grad_();
  const auto differentiate = [&](bool again) {
    return torch::autograd::grad({function(x).sum()}, {x}, /*grad_outputs=*/{},
                                 /*retain_graph=*/again, /*create_graph=*/again);
  };
  EXPECT_TRUE(differentiate(false)[0].defined());
  EXPECT_THROW(differentiate(true), Error);
}

TEST(OnceDifferentiable, IsWhatLayersAre) {
  RmsNorm norm(at::ones({8}), 1e-5);
  expect_one_derivative([&](const Tensor& x) { return norm->forward(x); }, {3, 8});
  Linear linear(at::randn({5, 8}));
  expect_one_derivative([&](const Tensor& x) { return linear->forward(x); }, {3, 8});
  expect_one_derivative([](const Tensor& x) { return silu_product(x, x); }, {3, 8});
  const Block square = [](const Tensor& x) { return x.square(); };
  expect_one_derivative([&](const Tensor& x) { return checkpoint(square, x); }, {3, 8});
}

TEST(OnceDifferentiable, IsTheLossOfAHead) {
  const Tensor weight = at::randn({5, 8}), labels = at::arange(3);
  expect_one_derivative([&](const Tensor& x) { return linear_cross_entropy(x, weight, labels); },
                        {3, 8});
}

TEST(OnceDifferentiable, IsTheRotaryEmbedding) {
  const Rotary rotary(8, 10000.0, /*scaling=*/std::nullopt);
  const auto tables = rotary.tables(at::arange(4), torch::TensorOptions(torch::kFloat32));
  expect_one_derivative([&](const Tensor& x) { return apply_rotary(x, tables); }, {2, 4, 3, 8});
}

}  // namespace
}  // namespace shira::nn
