#include "io/axis_ticks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace shira::detail {
namespace {

using testing::ElementsAre;
using Labels = std::vector<std::string>;

Labels labels(double low, double high, int most) {
  Labels labels;
  for (const Tick& tick : axis_around(low, high, most).ticks) labels.push_back(tick.label);
  return labels;
}

TEST(AxisTicksTest, AxisIsThreePercentWiderOnBothSides) {
  const Axis axis = axis_around(100, 200, 5);
  EXPECT_DOUBLE_EQ(axis.begin, 97);
  EXPECT_DOUBLE_EQ(axis.end, 203);
  EXPECT_DOUBLE_EQ(axis.share(150), 0.5);
}

TEST(AxisTicksTest, TicksAreMultiplesOfOneTwoOrFiveTimesAPowerOfTen) {
  EXPECT_THAT(labels(0, 4, 5), ElementsAre("0", "1", "2", "3", "4"));
  EXPECT_THAT(labels(0, 1000, 7), ElementsAre("0", "200", "400", "600", "800", "1000"));
  EXPECT_THAT(labels(1.1, 2.6, 4), ElementsAre("1.5", "2.0", "2.5"));
  EXPECT_THAT(labels(-0.002, 0.002, 5), ElementsAre("-0.002", "-0.001", "0.000", "0.001", "0.002"));
}

TEST(AxisTicksTest, NumbersWithManyZerosHaveAnExponent) {
  EXPECT_THAT(labels(0, 4e9, 5), ElementsAre("0", "1e+09", "2e+09", "3e+09", "4e+09"));
  EXPECT_THAT(labels(1e-8, 2e-8, 3), ElementsAre("1e-08", "1.5e-08", "2e-08"));
}

TEST(AxisTicksTest, EqualValuesLieInTheMiddle) {
  EXPECT_DOUBLE_EQ(axis_around(7, 7, 5).share(7), 0.5);
  EXPECT_THAT(labels(0, 0, 3), ElementsAre("-0.5", "0.0", "0.5"));
}

TEST(AxisTicksTest, AnyFiniteRangeHasAtMostTheTicksAskedForAndAtLeastOne) {
  const double tiny = std::numeric_limits<double>::denorm_min();
  const double next_to_one = 1 + std::numeric_limits<double>::epsilon();
  const std::vector<std::pair<double, double>> ranges{
      {0, tiny}, {1, next_to_one}, {-1e299, 1e299}, {1e9, 1e9 + 3}, {-3e-7, 5e12}, {0, 1e-99}};
  for (const auto& [low, high] : ranges) {
    const Axis axis = axis_around(low, high, 6);
    EXPECT_LT(axis.begin, axis.end) << low << " " << high;
    EXPECT_GE(axis.ticks.size(), 1u) << low << " " << high;
    EXPECT_LE(axis.ticks.size(), 7u) << low << " " << high;
  }
}

}  // namespace
}  // namespace shira::detail
