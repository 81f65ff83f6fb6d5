// The loss in chunks against finite differences and LibTorch's operations over all rows at once.
#include "finite_differences.h"
#include "io/expect_error.h"
#include "within_rounding.h"

#include <shira/base/error.h>
#include <shira/nn/linear_cross_entropy.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

namespace shira::nn {
namespace {

constexpr std::int64_t kDim = 8, kClasses = 19;
constexpr double kLargestLogit = 8.0;

/// Logits are multiples of 1/4 that every dtype holds: products in any order agree.
struct Head {
  Head(std::int64_t rows, torch::ScalarType dtype)
      : hidden(at::randint(-2, 3, {rows, kDim}).to(dtype)),
        weight(at::randint(-2, 3, {kClasses, kDim}).div(4).to(dtype)),
        labels(at::randint(kClasses, {rows}, torch::kInt64)) {}

  torch::Tensor hidden, weight, labels;
};

/// Logits in the operands' dtype, the losses in at least float32.
torch::Tensor loss_at_once(const torch::Tensor& hidden, const Head& head) {
  const auto wide = at::promote_types(hidden.scalar_type(), torch::kFloat32);
  return at::cross_entropy_loss(at::linear(hidden, head.weight).to(wide), head.labels, {},
                                at::Reduction::Sum);
}

TEST(LinearCrossEntropy, GradientIsTheFiniteDifferences) {
  const Head head(5, torch::kFloat64);
  expect_gradients(
      [&](const auto& arguments) {
        return linear_cross_entropy(arguments[0], head.weight, head.labels) * 3;
      },
      {head.hidden.clone().requires_grad_()});
}

class LinearCrossEntropyOfDtype : public testing::TestWithParam<torch::ScalarType> {};

TEST_P(LinearCrossEntropyOfDtype, EqualsLibTorchsOperationsAcrossTheBordersOfChunks) {
  for (const std::int64_t rows : {0, 1, 255, 256, 257, 512, 513, 600}) {
    SCOPED_TRACE(rows);
    const Head head(rows, GetParam());
    const torch::Tensor a = head.hidden.clone().requires_grad_();
    const torch::Tensor b = head.hidden.clone().requires_grad_();
    const torch::Tensor got = linear_cross_entropy(a, head.weight, head.labels);
    const torch::Tensor expected = loss_at_once(b, head);
    ASSERT_EQ(got.dim(), 0);
    expect_within_rounding(got, expected, kLargestLogit);
    (got * 3).backward();
    (expected * 3).backward();
    // LibTorch's softmax comes of numbers as large as the logits, in float32 at least.
    const bool is_narrow = a.element_size() == 2;
    expect_within_rounding(a.grad(), b.grad(), is_narrow ? 0.0 : kLargestLogit);
    const torch::NoGradGuard no_grad;  // the other way through the kernel
    EXPECT_TRUE(linear_cross_entropy(a, head.weight, head.labels).equal(got));
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, LinearCrossEntropyOfDtype,
                         testing::Values(torch::kFloat64, torch::kFloat32, torch::kBFloat16,
                                         torch::kFloat16));

TEST(LinearCrossEntropy, ScalesABfloat16GradientByAFloat32Factor) {
  const Head head(9, torch::kBFloat16);
  const torch::Tensor a = head.hidden.clone().requires_grad_();
  const torch::Tensor b = head.hidden.clone().requires_grad_();
  linear_cross_entropy(a, head.weight, head.labels).backward();
  (linear_cross_entropy(b, head.weight, head.labels) / 3).backward();
  const torch::Tensor third = (a.grad().to(torch::kFloat32) / 3).to(torch::kBFloat16);
  EXPECT_TRUE(b.grad().equal(third));
}

TEST(LinearCrossEntropy, TakesOperandsThatAreNotContiguous) {
  const Head head(300, torch::kFloat64);
  const torch::Tensor expected = linear_cross_entropy(head.hidden, head.weight, head.labels);
  const torch::Tensor strided = head.hidden.t().contiguous().t().requires_grad_();
  const torch::Tensor weight = head.weight.t().contiguous().t();
  const torch::Tensor labels = head.labels.repeat_interleave(2).slice(0, 0, 600, 2);
  const torch::Tensor got = linear_cross_entropy(strided, weight, labels);
  expect_within_rounding(got, expected);
  got.backward();
  const torch::Tensor plain = head.hidden.clone().requires_grad_();
  linear_cross_entropy(plain, head.weight, head.labels).backward();
  expect_within_rounding(strided.grad(), plain.grad());
}

TEST(LinearCrossEntropy, RecordsNothingWithoutAGradientToGive) {
  const Head head(3, torch::kFloat32);
  EXPECT_FALSE(linear_cross_entropy(head.hidden, head.weight, head.labels).requires_grad());
  const torch::NoGradGuard no_grad;
  const torch::Tensor trained = head.hidden.clone().requires_grad_();
  EXPECT_FALSE(linear_cross_entropy(trained, head.weight, head.labels).requires_grad());
}

TEST(LinearCrossEntropy, RefusesAWeightThatIsTrained) {
  Head head(3, torch::kFloat32);
  head.weight.requires_grad_();
  expect_error<Error>([&] { linear_cross_entropy(head.hidden, head.weight, head.labels); },
                      {"weight requires a gradient"});
}

TEST(LinearCrossEntropy, RefusesLabelsThatDoNotFit) {
  const Head head(3, torch::kFloat32);
  const auto call = [&](const torch::Tensor& labels) {
    linear_cross_entropy(head.hidden, head.weight, labels);
  };
  expect_error<ShapeError>([&] { call(head.labels - 100); }, {"label", "expected 0 to 18"});
  for (const std::int64_t count : {2, 4}) {
    expect_error<ShapeError>([&] { call(at::zeros({count}, torch::kInt64)); },
                             {"[3, 8]", "labels of [" + std::to_string(count) + "]"});
  }
}

}  // namespace
}  // namespace shira::nn
