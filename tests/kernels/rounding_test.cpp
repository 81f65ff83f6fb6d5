// Round-to-odd against directly rounded values.
#include <shira/kernels/rounding.h>

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace shira {
namespace {

/// float32 -> bfloat16, ties to even.
std::uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

TEST(RoundToOdd, KeepsWhatFloat32Holds) {
  for (double value : {0.0, -0.0, 1.0, -2.5, std::ldexp(1.0, -149), HUGE_VAL}) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(round_to_odd(value)),
              std::bit_cast<std::uint32_t>(static_cast<float>(value)));
  }
  EXPECT_TRUE(std::isnan(round_to_odd(std::numeric_limits<double>::quiet_NaN())));
}

TEST(RoundToOdd, MakesTheSecondRoundingHarmless) {
  // Just above and below the midpoint of the bfloat16 neighbours 1 and 1 + 2^-7.
  const double midpoint = 1.0 + std::ldexp(1.0, -8);
  const double little = std::ldexp(1.0, -40);
  EXPECT_EQ(to_bfloat16(round_to_odd(midpoint + little)), 0x3F81);
  EXPECT_EQ(to_bfloat16(round_to_odd(midpoint - little)), 0x3F80);
  EXPECT_EQ(to_bfloat16(round_to_odd(midpoint)), 0x3F80);                 // the tie goes to even
  EXPECT_EQ(to_bfloat16(static_cast<float>(midpoint + little)), 0x3F80);  // what it saves us from
}

TEST(RoundToOdd, ResultIsANeighbourWithAnOddLastBit) {
  for (double value : {0.1, -0.1, 1.0 / 3.0, 1e-42, 3.4e38, -1e300}) {
    const float rounded = round_to_odd(value);
    if (std::isinf(rounded)) continue;
    EXPECT_EQ(std::bit_cast<std::uint32_t>(rounded) & 1U, 1U) << value;
    EXPECT_LE(std::abs(static_cast<double>(rounded) - value),
              std::abs(std::nextafter(rounded, 0.0F) - rounded) + 1e-300);
  }
}

}  // namespace
}  // namespace shira
