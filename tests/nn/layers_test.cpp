// The norm against hand-computed numbers, finite differences and LibTorch's operations.
#include "finite_differences.h"
#include "within_rounding.h"

#include <shira/nn/layers.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <cmath>

namespace shira::nn {
namespace {

/// As transformers' LlamaRMSNorm has it.
torch::Tensor written_out_norm(const torch::Tensor& input, const torch::Tensor& weight) {
  const torch::Tensor x = input.to(at::promote_types(input.scalar_type(), torch::kFloat32));
  const torch::Tensor scale = at::rsqrt(x.square().mean({-1}, /*keepdim=*/true) + 1e-5);
  return weight * (x * scale).to(input.scalar_type());
}

/// One with random weights.
RmsNorm norm_of(std::int64_t width, torch::ScalarType dtype) {
  return RmsNorm(at::randn({width}).to(dtype), 1e-5);
}

TEST(RmsNorm, DividesByTheRootMeanSquare) {
  RmsNorm norm(at::tensor({2.0, 1.0}, torch::kFloat64), 0.0);
  const torch::Tensor out = norm->forward(at::tensor({3.0, 4.0}, torch::kFloat64));
  const double rms = std::sqrt((9.0 + 16.0) / 2.0);
  EXPECT_NEAR(out[0].item<double>(), 2.0 * 3.0 / rms, 1e-12);
  EXPECT_NEAR(out[1].item<double>(), 4.0 / rms, 1e-12);
}

TEST(RmsNorm, GradientsAreTheFiniteDifferences) {
  for (const bool is_trained : {false, true}) {  // by the kernel, by LibTorch
    RmsNorm norm = norm_of(7, torch::kFloat64);
    norm->weight.set_requires_grad(is_trained);
    const torch::Tensor factors = at::randn({2, 3, 7}, torch::kFloat64);
    expect_gradients(
        [&](const auto& arguments) {
          norm->weight = arguments[1];
          return (norm->forward(arguments[0]) * factors).sum();
        },
        {at::randn({2, 3, 7}, torch::kFloat64).requires_grad_(), norm->weight});
  }
}

class RmsNormOfDtype : public testing::TestWithParam<torch::ScalarType> {};

TEST_P(RmsNormOfDtype, EqualsLibTorchsOperationsForwardAndBackward) {
  RmsNorm norm = norm_of(33, GetParam());
  const torch::Tensor values = at::randn({5, 4, 33}).to(GetParam());
  const torch::Tensor grad = at::randn({5, 4, 33}).to(GetParam());
  const torch::Tensor a = values.clone().requires_grad_(), b = values.clone().requires_grad_();
  const torch::Tensor got = norm->forward(a), expected = written_out_norm(b, norm->weight);
  expect_within_rounding(got, expected);
  got.backward(grad);
  expected.backward(grad);
  expect_within_rounding(a.grad(), b.grad());
}

INSTANTIATE_TEST_SUITE_P(Dtypes, RmsNormOfDtype,
                         testing::Values(torch::kFloat64, torch::kFloat32, torch::kBFloat16,
                                         torch::kFloat16));

TEST(RmsNorm, TakesInputsAndGradientsThatAreNotContiguous) {
  RmsNorm norm = norm_of(6, torch::kFloat64);
  const torch::Tensor base = at::randn({6, 4}, torch::kFloat64);
  const torch::Tensor strided = base.clone().t().requires_grad_();
  const torch::Tensor plain = base.t().contiguous().requires_grad_();
  const torch::Tensor got = norm->forward(strided), expected = norm->forward(plain);
  EXPECT_TRUE(got.equal(expected));
  got.sum().backward();  // an expanded gradient
  expected.backward(at::ones({4, 6}, torch::kFloat64));
  EXPECT_TRUE(strided.grad().equal(plain.grad()));
}

TEST(RmsNorm, TakesNoRows) {
  RmsNorm norm = norm_of(6, torch::kFloat32);
  const torch::Tensor none = at::empty({0, 6}).requires_grad_();
  norm->forward(none).sum().backward();
  EXPECT_EQ(none.grad().sizes(), none.sizes());
}

TEST(RmsNorm, RecordsNothingWithoutAGradientToGive) {
  RmsNorm norm = norm_of(6, torch::kFloat32);
  EXPECT_FALSE(norm->forward(at::randn({2, 6})).requires_grad());
  const torch::NoGradGuard no_grad;
  EXPECT_FALSE(norm->forward(at::randn({2, 6}).requires_grad_()).requires_grad());
}

TEST(RmsNorm, RefusesRowsOfAnotherWidthThanItsWeight) {
  RmsNorm norm = norm_of(6, torch::kFloat32);
  EXPECT_THROW(norm->forward(at::randn({2, 600})), c10::Error);
}

TEST(RmsNorm, AWiderWeightGivesItsDtype) {
  RmsNorm norm = norm_of(6, torch::kFloat32);
  const torch::Tensor x = at::randn({2, 6}).to(torch::kBFloat16);
  EXPECT_TRUE(norm->forward(x).equal(written_out_norm(x, norm->weight)));
}

}  // namespace
}  // namespace shira::nn
