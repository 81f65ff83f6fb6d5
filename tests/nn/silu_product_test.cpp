// silu(gate) * up against finite differences and LibTorch's operations.
#include "finite_differences.h"
#include "within_rounding.h"

#include <shira/nn/silu_product.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

namespace shira::nn {
namespace {

TEST(SiluProduct, GradientsAreTheFiniteDifferences) {
  const torch::Tensor factors = at::randn({3, 7}, torch::kFloat64);
  for (const auto& [gate_too, up_too] : {std::pair{true, true}, {true, false}, {false, true}}) {
    expect_gradients(
        [&](const auto& arguments) {
          return (silu_product(arguments[0], arguments[1]) * factors).sum();
        },
        {at::randn({3, 7}, torch::kFloat64).mul_(3).requires_grad_(gate_too),
         at::randn({3, 7}, torch::kFloat64).requires_grad_(up_too)});
  }
}

class SiluProductOfDtype : public testing::TestWithParam<torch::ScalarType> {};

TEST_P(SiluProductOfDtype, EqualsLibTorchsOperationsForwardAndBackward) {
  const torch::Tensor values = at::randn({2, 4, 5, 33}).mul_(3).to(GetParam());
  const torch::Tensor grad = at::randn({4, 5, 33}).to(GetParam());
  const torch::Tensor a = values.clone().requires_grad_(), b = values.clone().requires_grad_();
  const torch::Tensor got = silu_product(a[0], a[1]), expected = at::silu(b[0]) * b[1];
  expect_within_rounding(got, expected);
  got.backward(grad);
  expected.backward(grad);
  expect_within_rounding(a.grad(), b.grad());
}

INSTANTIATE_TEST_SUITE_P(Dtypes, SiluProductOfDtype,
                         testing::Values(torch::kFloat64, torch::kFloat32, torch::kBFloat16,
                                         torch::kFloat16));

TEST(SiluProduct, TakesInputsAndGradientsThatAreNotContiguous) {
  const torch::Tensor base = at::randn({2, 6, 4}, torch::kFloat64);
  const torch::Tensor strided = base.clone().transpose(1, 2).requires_grad_();
  const torch::Tensor plain = base.transpose(1, 2).contiguous().requires_grad_();
  const torch::Tensor got = silu_product(strided[0], strided[1]);
  const torch::Tensor expected = silu_product(plain[0], plain[1]);
  EXPECT_TRUE(got.equal(expected));
  got.sum().backward();  // an expanded gradient
  expected.backward(at::ones({4, 6}, torch::kFloat64));
  EXPECT_TRUE(strided.grad().equal(plain.grad()));
}

TEST(SiluProduct, OfOperandsThatDifferIsLibTorchs) {
  const torch::Tensor gate = at::randn({4, 6}), row = at::randn({6});
  EXPECT_TRUE(silu_product(gate, row).equal(at::silu(gate) * row));
  const torch::Tensor narrow = at::randn({4, 6}).to(torch::kBFloat16);
  EXPECT_TRUE(silu_product(gate, narrow).equal(at::silu(gate) * narrow));
  EXPECT_THROW(silu_product(gate, at::randn({4, 5})), c10::Error);
}

TEST(SiluProduct, RecordsNothingWithoutAGradientToGive) {
  const torch::Tensor x = at::randn({4, 6});
  EXPECT_FALSE(silu_product(x, x).requires_grad());
  const torch::NoGradGuard no_grad;
  const torch::Tensor trained = at::randn({4, 6}).requires_grad_();
  EXPECT_FALSE(silu_product(trained, trained).requires_grad());
}

}  // namespace
}  // namespace shira::nn
