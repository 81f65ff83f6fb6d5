// What two ways of computing the same may differ by.
#pragma once

#include <ATen/Functions.h>
#include <torch/types.h>

#include <gtest/gtest.h>

namespace shira {

/// Expects tensors of one dtype and shape, nowhere apart by more than a few roundings of the
/// largest element, or of numbers larger by `beyond` that it was formed of.
inline void expect_within_rounding(const torch::Tensor& got, const torch::Tensor& expected,
                                   double beyond = 0.0) {
  ASSERT_EQ(got.scalar_type(), expected.scalar_type());
  ASSERT_EQ(got.sizes(), expected.sizes());
  if (got.numel() == 0) return;
  const double unit = got.scalar_type() == torch::kFloat64    ? 0x1p-53
                      : got.scalar_type() == torch::kFloat32  ? 0x1p-24
                      : got.scalar_type() == torch::kBFloat16 ? 0x1p-9
                                                              : 0x1p-11;
  const torch::Tensor a = got.to(torch::kFloat64), b = expected.to(torch::kFloat64);
  const auto size = b.abs().max().item<double>() + beyond;
  EXPECT_LE((a - b).abs().max().item<double>(), 8 * unit * size);
}

}  // namespace shira
