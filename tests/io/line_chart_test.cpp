// What is drawn where: single pixels and the columns and rows that a colour reaches.
#include <shira/io/line_chart.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

namespace shira {
namespace {

constexpr Rgb kBlue{0, 114, 178};
constexpr Rgb kOrange{230, 120, 0};

struct Box {
  int left = std::numeric_limits<int>::max();
  int top = std::numeric_limits<int>::max();
  int right = -1;
  int bottom = -1;
};

/// Around all pixels of exactly this colour below row `from`.
Box box_of(const Picture& picture, Rgb colour, int from) {
  Box box;
  for (int y = from; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      if (picture.at(x, y) != colour) continue;
      box = {std::min(box.left, x), std::min(box.top, y), std::max(box.right, x),
             std::max(box.bottom, y)};
    }
  }
  return box;
}

constexpr int kLegendEnd = 75;

Picture draw(std::vector<ChartPoint> points) {
  return draw_line_chart({"title", "x", "y", {{"line", std::move(points)}}});
}

TEST(LineChartTest, LineIsStraightAndFillsThePlot) {
  const Picture picture = draw({{0, 0}, {10, 5}});
  const Box box = box_of(picture, kBlue, kLegendEnd);
  EXPECT_GT(box.right - box.left, 700);
  EXPECT_GT(box.bottom - box.top, 350);
  for (const int part : {1, 2, 3}) {
    const int x = box.left + part * (box.right - box.left) / 4;
    const int y = box.bottom - part * (box.bottom - box.top) / 4;
    const bool on_line = picture.at(x, y) == kBlue || picture.at(x, y + 1) == kBlue;
    EXPECT_TRUE(on_line) << "column " << x << ", row " << y;
  }
}

TEST(LineChartTest, LargerValuesAreHigher) {
  const Picture picture =
      draw_line_chart({"", "", "", {{"low", {{0, 1}, {1, 1}}}, {"high", {{0, 2}, {1, 2}}}}});
  EXPECT_GT(box_of(picture, kBlue, kLegendEnd).top, box_of(picture, kOrange, kLegendEnd).bottom);
}

TEST(LineChartTest, PointsThatAreNotFiniteAreGaps) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const ChartPoint gap : {ChartPoint{2, nan}, {2, -infinity}, {infinity, 1}, {2, 1e308}}) {
    const Picture picture = draw({{0, 0}, {1, 0}, gap, {3, 1}, {4, 1}});
    const Box box = box_of(picture, kBlue, kLegendEnd);
    const int middle = (box.left + box.right) / 2;
    for (int y = kLegendEnd; y < picture.height; ++y) {
      EXPECT_NE(picture.at(middle, y), kBlue) << "row " << y;
    }
  }
}

TEST(LineChartTest, APointWithoutNeighboursIsADot) {
  const Box box = box_of(draw({{3, 2}}), kBlue, kLegendEnd);
  EXPECT_NEAR(box.right - box.left, 7, 1);
  EXPECT_NEAR(box.bottom - box.top, 7, 1);
}

TEST(LineChartTest, ManyNamesAndUnprintableTextAreNoProblem) {
  LineChart chart{"\xc3\xa9\n\x7f", "", "", {}};
  for (int i = 0; i < 9; ++i) chart.series.push_back({std::string(40, 'x'), {{0, 1.0 * i}}});
  EXPECT_EQ(draw_line_chart(chart).width, 900);
}

TEST(LineChartTest, WithoutPointsThereAreStillAxes) {
  const Picture picture = draw_line_chart({"title", "x", "y", {}});
  EXPECT_GT(std::count_if(picture.pixels.begin(), picture.pixels.end(),
                          [](const Rgb& pixel) { return pixel != Rgb{}; }),
            1000);
}

}  // namespace
}  // namespace shira
