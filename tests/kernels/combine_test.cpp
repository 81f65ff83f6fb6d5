// The rules of exactness, one position at a time.
#include <shira/base/error.h>
#include <shira/kernels/combine.h>

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace shira {
namespace {

using Indices = std::vector<std::int32_t>;
using Floats = std::vector<float>;
using Halves = std::vector<std::uint16_t>;

/// The combination over the union of positions, of a base that is 1 everywhere.
Floats combined(const std::vector<Contribution>& contributions) {
  const Indices indices = union_of_indices(contributions);
  const Floats base(indices.size(), 1.0F);
  Floats out(indices.size());
  combine(indices, base.data(), DType::kF32, contributions, out.data());
  return out;
}

/// One position of a bfloat16 base of value 1.
std::uint16_t combined_bf16(const std::vector<Contribution>& contributions) {
  const std::uint16_t one = 0x3F80;
  std::uint16_t out = 0;
  combine(Indices{0}, &one, DType::kBF16, contributions, &out);
  return out;
}

TEST(Combine, UnionIsSortedAndUnique) {
  const Indices a{1, 5, 9}, b{0, 5}, none;
  EXPECT_EQ(union_of_indices(std::vector<Contribution>{{a}, {b}, {none}}), (Indices{0, 1, 5, 9}));
  EXPECT_EQ(union_of_indices({}), Indices{});
}

TEST(Combine, EachPositionTakesWhatActsOnIt) {
  const Indices a{1, 5}, b{5, 9};
  const Floats new_a{3.0F, 3.0F}, delta_b{0.25F, 0.25F};
  // 1: copied; 5: 1 + (3 - 1) + 2 * 0.25; 9: 1 + 2 * 0.25
  EXPECT_EQ(combined({{a, new_a.data(), DType::kF32, false, 1.0},
                      {b, delta_b.data(), DType::kF32, true, 2.0}}),
            (Floats{3.0F, 3.5F, 1.5F}));
}

TEST(Combine, ScalesMoveFromTheBaseToTheNewWeight) {
  const Indices a{0};
  const Floats five{5.0F};
  for (const double scale : {0.0, 0.25, 0.5, 1.25, -1.0}) {
    EXPECT_EQ(combined({{a, five.data(), DType::kF32, false, scale}})[0], 1.0 + scale * 4.0);
  }
}

TEST(Combine, ACopyKeepsEveryBit) {
  // A signalling NaN with a payload, minus zero, the smallest denormal.
  const Halves values{0x7FA1, 0x8000, 0x0001}, base{0x3F80, 0x3F80, 0x3F80};
  Halves out(3);
  const Indices all{0, 1, 2};
  combine(all, base.data(), DType::kBF16,
          std::vector<Contribution>{{all, values.data(), DType::kBF16, false, 1.0}}, out.data());
  EXPECT_EQ(out, values);
}

TEST(Combine, WhereNothingActsTheBaseStays) {
  const Halves base{0x7FA1, 0x8000};
  Halves out(2);
  combine(Indices{0, 1}, base.data(), DType::kBF16, {}, out.data());
  EXPECT_EQ(out, base);
}

TEST(Combine, ADeltaAloneIsAddedInFloat32AsPeftDoes) {
  // 1 + 2^-8 + 2^-26 is above the midpoint of the bfloat16 neighbours 1 and 1 + 2^-7, but float32
  // cannot hold it: PEFT gets the midpoint, which goes to even.
  const double above = std::ldexp(1.0, -8) + std::ldexp(1.0, -26);
  const Indices a{0};
  const std::vector<double> delta{above}, nothing{0.0};
  const Contribution alone{a, delta.data(), DType::kF64, true, 1.0};
  EXPECT_EQ(combined_bf16({alone}), 0x3F80);
  // Two at one position are summed in float64 and rounded once.
  EXPECT_EQ(combined_bf16({alone, {a, nothing.data(), DType::kF64, true, 1.0}}), 0x3F81);
}

TEST(Combine, NewWeightsOfAWiderDtypeAreRoundedOnce) {
  const Indices a{0};
  const std::vector<double> above{1.0 + std::ldexp(1.0, -8) + std::ldexp(1.0, -40)};
  EXPECT_EQ(combined_bf16({{a, above.data(), DType::kF64, false, 1.0}}), 0x3F81);
}

TEST(Combine, Float16IsRoundedToNearestEven) {
  const Indices all{0, 1, 2};
  const Halves base{0x3C00, 0x3C00, 0x3C00};  // 1
  const double half_step = std::ldexp(1.0, -11);
  const std::vector<double> values{1.0 + half_step, 1.0 + 1.01 * half_step, 1e6};
  Halves out(3);
  combine(all, base.data(), DType::kF16,
          std::vector<Contribution>{{all, values.data(), DType::kF64, false, 1.0}}, out.data());
  EXPECT_EQ(out, (Halves{0x3C00, 0x3C01, 0x7C00}));
}

TEST(Combine, PartsOfALongUnionAgreeWithOneByOne) {
  const std::size_t count = 100'000;
  Indices even, third;
  for (std::size_t i = 0; i < count; ++i) {
    if (i % 2 == 0) even.push_back(static_cast<std::int32_t>(i));
    if (i % 3 == 0) third.push_back(static_cast<std::int32_t>(i));
  }
  const Floats twos(even.size(), 2.0F), fours(third.size(), 4.0F);
  const std::vector<Contribution> both{{even, twos.data(), DType::kF32, false, 1.0},
                                       {third, fours.data(), DType::kF32, false, 1.0}};
  const Floats out = combined(both);
  const Indices indices = union_of_indices(both);
  for (std::size_t k = 0; k < indices.size(); ++k) {
    const float expected = indices[k] % 6 == 0 ? 5.0F : indices[k] % 2 == 0 ? 2.0F : 4.0F;
    ASSERT_EQ(out[k], expected) << indices[k];
  }
}

TEST(Combine, OtherDtypesAreErrors) {
  const std::int32_t base = 1;
  std::int32_t out = 0;
  EXPECT_THROW(combine(Indices{0}, &base, DType::kI32, {}, &out), ShapeError);
}

}  // namespace
}  // namespace shira
