// The gradient of masked entries against the dense product in float64.
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/sampled_weight_grad.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

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

TEST(SampledWeightGrad, TakesOperandsThatAreNotContiguous) {
  const torch::Tensor grad = at::randn({6, 10}).t(), input = at::randn({12, 10}).t();
  const torch::Tensor indices = at::tensor({0, 5, 71}, torch::kInt32);
  const torch::Tensor expected = grad.t().mm(input).flatten().index_select(0, indices);
  EXPECT_TRUE(at::allclose(sampled_weight_grad(grad, input, indices), expected, 1e-5, 1e-6));
}

}  // namespace
}  // namespace shira
