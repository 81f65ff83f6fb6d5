// Autograd's gradients against central finite differences, in float64.
#pragma once

#include <ATen/Functions.h>
#include <torch/types.h>

#include <gtest/gtest.h>

#include <functional>
#include <vector>

namespace shira {

/// A scalar of some float64 tensors.
using ScalarFunction = std::function<torch::Tensor(const std::vector<torch::Tensor>&)>;

/// The derivatives of `function` for argument `which`, by steps of 1e-5 to either side of every
/// element.
inline torch::Tensor finite_differences(const ScalarFunction& function,
                                        std::vector<torch::Tensor> arguments, std::size_t which) {
  constexpr double kStep = 1e-5;
  torch::NoGradGuard no_grad;
  const torch::Tensor at_point = arguments[which].contiguous();
  torch::Tensor slopes = at::empty_like(at_point);
  const auto value_beside = [&](std::int64_t k, double step) {
    arguments[which] = at_point.clone();
    arguments[which].view(-1)[k] += step;
    return function(arguments).item<double>();
  };
  for (std::int64_t k = 0; k < at_point.numel(); ++k) {
    slopes.view(-1)[k] = (value_beside(k, kStep) - value_beside(k, -kStep)) / (2 * kStep);
  }
  return slopes;
}

/// Expects a backward pass to give the finite differences for every argument that requires a
/// gradient, and there to be one.
inline void expect_gradients(const ScalarFunction& function,
                             const std::vector<torch::Tensor>& arguments) {
  std::size_t compared = 0;
  function(arguments).backward();
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!arguments[i].requires_grad()) continue;
    ++compared;
    const torch::Tensor slopes = finite_differences(function, arguments, i);
    EXPECT_TRUE(at::allclose(arguments[i].grad(), slopes, 1e-7, 1e-8))
        << "argument " << i << ": got\n"
        << arguments[i].grad() << "\nexpected\n"
        << slopes;
  }
  EXPECT_GT(compared, 0U);
}

}  // namespace shira
