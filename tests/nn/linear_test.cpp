// Frozen layers pass gradients on, trained ones take them.
#include <shira/nn/linear.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

namespace shira::nn {
namespace {

class LinearOfDtype : public testing::TestWithParam<torch::ScalarType> {};

TEST_P(LinearOfDtype, AFrozenLayerPassesTheGradientOn) {
  Linear layer(at::randn({6, 8}).to(GetParam()), at::randn({6}).to(GetParam()));
  torch::Tensor input = at::randn({40, 8}).to(GetParam()).requires_grad_();
  const torch::Tensor grad = at::randn({40, 6}).to(GetParam());
  layer->forward(input).backward(grad);
  const torch::Tensor expected =
      at::matmul(grad.to(torch::kFloat64), layer->weight.to(torch::kFloat64));
  EXPECT_TRUE(at::allclose(input.grad().to(torch::kFloat64), expected, 1e-2, 3e-2));
}

INSTANTIATE_TEST_SUITE_P(Dtypes, LinearOfDtype,
                         testing::Values(torch::kFloat32, torch::kBFloat16, torch::kFloat16));

TEST(Linear, ATrainedWeightGetsItsGradient) {
  Linear layer(at::randn({6, 8}));
  layer->weight.set_requires_grad(true);
  layer->forward(at::ones({2, 8})).sum().backward();
  EXPECT_TRUE(layer->weight.grad().equal(at::full({6, 8}, 2.0F)));
}

}  // namespace
}  // namespace shira::nn
