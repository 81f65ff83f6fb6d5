#include <shira/base/error.h>
#include <shira/train/gradients.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <cmath>

namespace shira {
namespace {

torch::Tensor with_gradient(const std::vector<double>& gradient) {
  torch::Tensor parameter = at::zeros({std::ssize(gradient)}).requires_grad_();
  parameter.mutable_grad() = at::tensor(gradient, torch::kFloat32);
  return parameter;
}

/// Two parameters, whose gradients have the norm 5 together.
std::vector<NamedTensor> three_and_four() {
  return {{"a", with_gradient({3, 0})}, {"b", with_gradient({4})}};
}

double first_gradient(const NamedTensor& parameter) {
  return parameter.second.grad()[0].item<double>();
}

/// The sum of value * batch["x"].
class Product : public Objective {
 public:
  torch::Tensor loss_sum(const Batch& batch) override { return (value * batch.at("x")).sum(); }
  std::int64_t term_count(const Batch& batch) const override { return batch.at("x").numel(); }
  std::int64_t item_count(const Batch& batch) const override { return batch.at("x").numel(); }

  torch::Tensor value = at::ones({1}).requires_grad_();
};

TEST(ClipGradients, ScalesAllByTheNormOverAll) {
  const auto parameters = three_and_four();
  EXPECT_FLOAT_EQ(clip_gradients(parameters, 1.0), 5.0);
  EXPECT_NEAR(first_gradient(parameters[0]), 0.6, 1e-6);
  EXPECT_NEAR(first_gradient(parameters[1]), 0.8, 1e-6);
}

TEST(ClipGradients, LeavesWhatIsBelowTheLimitAndEverythingAtZero) {
  for (const double max_norm : {5.5, 0.0}) {
    const auto parameters = three_and_four();
    EXPECT_FLOAT_EQ(clip_gradients(parameters, max_norm), 5.0);
    EXPECT_EQ(first_gradient(parameters[0]), 3.0);
    EXPECT_EQ(first_gradient(parameters[1]), 4.0);
  }
}

TEST(ClipGradients, ANormThatIsNotFiniteChangesNothing) {
  const std::vector<NamedTensor> parameters = {{"a", with_gradient({INFINITY, 2})}};
  EXPECT_TRUE(std::isinf(clip_gradients(parameters, 1.0)));
  EXPECT_EQ(parameters[0].second.grad()[1].item<double>(), 2.0);
}

TEST(ClipGradients, NamesAParameterThatNoGradientReached) {
  auto parameters = three_and_four();
  parameters.emplace_back("layers.7.weight", at::zeros({1}).requires_grad_());
  try {
    clip_gradients(parameters, 1.0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("layers.7.weight"), std::string::npos);
  }
}

TEST(AddGradients, AddsTheMeanOverAnAccumulationGroup) {
  Product objective;
  const std::vector<NamedTensor> parameters = {{"value", objective.value}};
  EXPECT_EQ(add_gradients(objective, {{"x", at::tensor({1.0F, 2.0F})}}, 3), 3.0);
  EXPECT_EQ(add_gradients(objective, {{"x", at::tensor({6.0F})}}, 3), 6.0);
  EXPECT_EQ(first_gradient(parameters[0]), 3.0);
  clear_gradients(parameters);
  EXPECT_FALSE(objective.value.grad().defined());
}

TEST(AddGradients, ALossThatIsNotFiniteLeavesNoGradient) {
  Product objective;
  EXPECT_TRUE(std::isnan(add_gradients(objective, {{"x", at::tensor({NAN})}}, 1)));
  EXPECT_FALSE(objective.value.grad().defined());
}

}  // namespace
}  // namespace shira
