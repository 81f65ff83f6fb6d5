// The rotary embedding against hand-computed angles, finite differences and LibTorch's operations.
#include "finite_differences.h"
#include "within_rounding.h"

#include <shira/nn/rotary.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <cmath>

namespace shira::nn {
namespace {

/// As transformers' apply_rotary_pos_emb has it.
torch::Tensor written_out_rotary(const torch::Tensor& x, const Rotary::Tables& tables) {
  const auto halves = x.chunk(2, -1);
  const torch::Tensor turned = at::cat({-halves[1], halves[0]}, -1);
  return x * tables.cos.unsqueeze(-2) + turned * tables.sin.unsqueeze(-2);
}

/// For five positions, or five in each of two sequences, and heads of six.
Rotary::Tables tables_of(torch::ScalarType dtype, bool by_sequence) {
  const Rotary rotary(6, 100.0, std::nullopt);
  if (!by_sequence) return rotary.tables(3, 5, dtype);
  return rotary.tables(at::randint(50, {2, 5}, torch::kInt64), dtype);
}

TEST(Rotary, TablesOfAnyPositionsAreThoseOfTheConsecutiveOnes) {
  const Rotary rotary(6, 100.0, RopeScaling{.kind = RopeScaling::Kind::kLlama3, .factor = 8.0});
  const Rotary::Tables all = rotary.tables(0, 9, torch::kFloat32);
  const torch::Tensor places = at::tensor({5, 0, 8, 8}, torch::kInt64);
  const Rotary::Tables row = rotary.tables(places, torch::kFloat32);
  EXPECT_TRUE(row.cos.equal(all.cos.index_select(0, places)));
  const Rotary::Tables rows = rotary.tables(places.view({2, 2}), torch::kFloat32);
  EXPECT_TRUE(rows.sin.equal(all.sin.index_select(0, places).view({2, 2, 6})));
}

TEST(Rotary, TurnsEachPairByPositionTimesFrequency) {
  // head_dim 4, theta 100: frequencies 1 and 0.1; half-split pairs are (0, 2) and (1, 3).
  const Rotary rotary(4, 100.0, std::nullopt);
  const torch::Tensor x = at::tensor({1.0, 1.0, 0.0, 0.0}, torch::kFloat64).view({1, 1, 1, 4});
  const torch::Tensor turned = apply_rotary(x, rotary.tables(3, 1, torch::kFloat64)).flatten();
  EXPECT_NEAR(turned[0].item<double>(), std::cos(3.0), 1e-6);
  EXPECT_NEAR(turned[1].item<double>(), std::cos(0.3), 1e-6);
  EXPECT_NEAR(turned[2].item<double>(), std::sin(3.0), 1e-6);
  EXPECT_NEAR(turned[3].item<double>(), std::sin(0.3), 1e-6);
}

TEST(ApplyRotary, GradientIsTheFiniteDifferences) {
  for (const bool by_sequence : {false, true}) {
    const Rotary::Tables tables = tables_of(torch::kFloat64, by_sequence);
    const torch::Tensor factors = at::randn({2, 5, 3, 6}, torch::kFloat64);
    expect_gradients(
        [&](const auto& arguments) { return (apply_rotary(arguments[0], tables) * factors).sum(); },
        {at::randn({2, 5, 3, 6}, torch::kFloat64).requires_grad_()});
  }
}

class ApplyRotaryOfDtype : public testing::TestWithParam<torch::ScalarType> {};

TEST_P(ApplyRotaryOfDtype, EqualsLibTorchsOperationsForwardAndBackward) {
  for (const bool by_sequence : {false, true}) {
    const Rotary::Tables tables = tables_of(GetParam(), by_sequence);
    const torch::Tensor values = at::randn({2, 5, 3, 6}).to(GetParam());
    const torch::Tensor grad = at::randn({2, 5, 3, 6}).to(GetParam());
    const torch::Tensor a = values.clone().requires_grad_(), b = values.clone().requires_grad_();
    const torch::Tensor got = apply_rotary(a, tables), expected = written_out_rotary(b, tables);
    expect_within_rounding(got, expected);
    got.backward(grad);
    expected.backward(grad);
    expect_within_rounding(a.grad(), b.grad());
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, ApplyRotaryOfDtype,
                         testing::Values(torch::kFloat64, torch::kFloat32, torch::kBFloat16,
                                         torch::kFloat16));

TEST(ApplyRotary, TakesInputsAndGradientsThatAreNotContiguous) {
  const Rotary::Tables tables = tables_of(torch::kFloat64, /*by_sequence=*/false);
  const torch::Tensor base = at::randn({2, 3, 5, 6}, torch::kFloat64);
  const torch::Tensor strided = base.clone().transpose(1, 2).requires_grad_();
  const torch::Tensor plain = base.transpose(1, 2).contiguous().requires_grad_();
  const torch::Tensor got = apply_rotary(strided, tables), expected = apply_rotary(plain, tables);
  EXPECT_TRUE(got.equal(expected));
  got.sum().backward();  // an expanded gradient
  expected.backward(at::ones({2, 5, 3, 6}, torch::kFloat64));
  EXPECT_TRUE(strided.grad().equal(plain.grad()));
}

TEST(ApplyRotary, TakesTablesThatItHasNoKernelFor) {
  const torch::Tensor x = at::randn({2, 5, 3, 6});
  const Rotary::Tables wide = tables_of(torch::kFloat64, /*by_sequence=*/false);
  EXPECT_TRUE(apply_rotary(x, wide).equal(written_out_rotary(x, wide)));
  const Rotary::Tables one = {wide.cos.narrow(0, 0, 1), wide.sin.narrow(0, 0, 1)};
  EXPECT_TRUE(apply_rotary(x, one).equal(written_out_rotary(x, one)));
  const Rotary::Tables of_other_heads =
      Rotary(8, 100.0, std::nullopt).tables(0, 5, torch::kFloat32);
  EXPECT_THROW(apply_rotary(x, of_other_heads), c10::Error);
  const Rotary::Tables of_fewer_tokens = tables_of(torch::kFloat32, /*by_sequence=*/false);
  EXPECT_THROW(apply_rotary(at::randn({2, 7, 3, 6}), of_fewer_tokens), c10::Error);
}

TEST(ApplyRotary, RecordsNothingWithoutAGradientToGive) {
  const Rotary::Tables tables = tables_of(torch::kFloat32, /*by_sequence=*/false);
  EXPECT_FALSE(apply_rotary(at::randn({2, 5, 3, 6}), tables).requires_grad());
  const torch::NoGradGuard no_grad;
  EXPECT_FALSE(apply_rotary(at::randn({2, 5, 3, 6}).requires_grad_(), tables).requires_grad());
}

}  // namespace
}  // namespace shira::nn
