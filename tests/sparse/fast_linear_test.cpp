// A product by whatever routine is chosen, against float64.
#include <shira/sparse/fast_linear.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

class FastLinear : public testing::TestWithParam<torch::ScalarType> {};

/// In every dtype that a result is rounded to; sums of at most 300 terms.
void expect_product(const torch::Tensor& input, const torch::Tensor& weight,
                    const torch::Tensor& bias) {
  const auto wide = [](const torch::Tensor& x) {
    return x.defined() ? std::optional(x.to(torch::kFloat64)) : std::nullopt;
  };
  const torch::Tensor expected = at::linear(*wide(input), *wide(weight), wide(bias));
  const torch::Tensor result = fast_linear(input, weight, bias);
  EXPECT_EQ(result.scalar_type(), weight.scalar_type());
  const bool is_narrow = weight.element_size() == 2;
  EXPECT_TRUE(at::allclose(result.to(torch::kFloat64), expected, is_narrow ? 1e-2 : 1e-5,
                           is_narrow ? 3e-2 : 1e-4))
      << input.sizes() << " by " << weight.sizes();
}

TEST_P(FastLinear, IsTheProductInTheOperandsDtype) {
  for (const std::int64_t rows : {1, 5, 20, 150}) {  // the last one is large enough for oneDNN
    const torch::Tensor input = at::randn({3, rows, 80}).to(GetParam());
    const torch::Tensor weight = at::randn({70, 80}).to(GetParam());
    expect_product(input, weight, at::randn({70}).to(GetParam()));
    expect_product(input, weight, {});
    expect_product(at::randn({rows, 300}).t().to(GetParam()).slice(1, 0, rows),
                   at::randn({rows, 90}).to(GetParam()).t(), {});  // strides of a transpose
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, FastLinear,
                         testing::Values(torch::kFloat64, torch::kFloat32, torch::kBFloat16,
                                         torch::kFloat16));

}  // namespace
}  // namespace shira
