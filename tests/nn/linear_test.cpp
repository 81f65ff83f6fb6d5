// The 16-bit shortcut gives the float32 product rounded once, and the same gradients.
#include <shira/nn/linear.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

namespace shira::nn {
namespace {

class FastLinear : public testing::TestWithParam<torch::ScalarType> {};

TEST_P(FastLinear, IsTheProductInTheOperandsDtype) {
  const torch::Tensor input = at::randn({3, 20, 8}).to(GetParam());
  const torch::Tensor weight = at::randn({6, 8}).to(GetParam());
  const torch::Tensor bias = at::randn({6}).to(GetParam());
  const torch::Tensor expected =
      at::linear(input.to(torch::kFloat64), weight.to(torch::kFloat64), bias.to(torch::kFloat64));
  const torch::Tensor result = fast_linear(input, weight, bias);
  EXPECT_EQ(result.scalar_type(), GetParam());
  EXPECT_TRUE(at::allclose(result.to(torch::kFloat64), expected, 1e-2, 3e-2));
}

TEST_P(FastLinear, AFrozenLayerPassesTheGradientOn) {
  Linear layer(at::randn({6, 8}).to(GetParam()), at::randn({6}).to(GetParam()));
  torch::Tensor input = at::randn({40, 8}).to(GetParam()).requires_grad_();
  const torch::Tensor grad = at::randn({40, 6}).to(GetParam());
  layer->forward(input).backward(grad);
  const torch::Tensor expected =
      at::matmul(grad.to(torch::kFloat64), layer->weight.to(torch::kFloat64));
  EXPECT_TRUE(at::allclose(input.grad().to(torch::kFloat64), expected, 1e-2, 3e-2));
}

INSTANTIATE_TEST_SUITE_P(Dtypes, FastLinear,
                         testing::Values(torch::kFloat32, torch::kBFloat16, torch::kFloat16));

TEST(Linear, ATrainedWeightGetsItsGradient) {
  Linear layer(at::randn({6, 8}));
  layer->weight.set_requires_grad(true);
  layer->forward(at::ones({2, 8})).sum().backward();
  EXPECT_TRUE(layer->weight.grad().equal(at::full({6, 8}, 2.0F)));
}

}  // namespace
}  // namespace shira::nn
