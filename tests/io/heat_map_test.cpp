#include "expect_error.h"

#include <shira/base/error.h>
#include <shira/io/heat_map.h>

#include <gtest/gtest.h>

#include <limits>

namespace shira {
namespace {

constexpr Rgb kWhite{255, 255, 255};
constexpr Rgb kPale{222, 235, 247};
constexpr Rgb kMiddle{66, 146, 198};
constexpr Rgb kDark{8, 24, 58};
constexpr int kLeft = 46;  // margin, y label, gap
constexpr int kTop = 46;

HeatMap map_of(std::int64_t rows, std::int64_t columns, std::vector<double> values) {
  return {"title", "x", "y", rows, columns, std::move(values)};
}

// (2, 2): 256 pixels for each cell. sqrt(1 / 4) is half of the way.
TEST(HeatMap, CellsAreColouredByTheSquareRootOfTheirValue) {
  const Picture picture = draw_heat_map(map_of(2, 2, {4, 0, 1e-12, 1}));
  for (const int inside : {0, 128, 255}) {
    EXPECT_EQ(picture.at(kLeft + inside, kTop + inside), kDark);
    EXPECT_EQ(picture.at(kLeft + 256 + inside, kTop + inside), kWhite);
    EXPECT_EQ(picture.at(kLeft + inside, kTop + 256 + inside), kPale);
    EXPECT_EQ(picture.at(kLeft + 256 + inside, kTop + 256 + inside), kMiddle);
  }
}

TEST(HeatMap, ABarAtTheRightRunsFromPaleToDark) {
  const Picture picture = draw_heat_map(map_of(2, 2, {4, 0, 0, 1}));
  const int x = kLeft + 512 + 12 + 5;
  EXPECT_EQ(picture.at(x, kTop), kDark);
  EXPECT_EQ(picture.at(x, kTop + 511), kPale);
  int marks = 0;  // of 0, 1, 2, 3 and 4
  for (int y = kTop; y < kTop + 512; ++y) {
    marks += picture.at(kLeft + 512 + 12 + 20 + 3, y) == Rgb{120, 124, 132} ? 1 : 0;
  }
  EXPECT_EQ(marks, 5);
  EXPECT_EQ(picture.at(kLeft + 512 + 12 + 20 + 3, kTop), (Rgb{120, 124, 132}));  // 4
  // 1 is half of the way up, where a cell of 1 has its colour.
  EXPECT_EQ(picture.at(kLeft + 512 + 12 + 20 + 3, kTop + 256), (Rgb{120, 124, 132}));
  EXPECT_NEAR(picture.at(x, kTop + 256).red, kMiddle.red, 1);
}

TEST(HeatMap, ALongTitleWidensThePicture) {
  HeatMap map = map_of(1, 1, {1});
  const int width = draw_heat_map(map).width;
  map.title = std::string(200, 'm');
  EXPECT_GT(draw_heat_map(map).width, width);
}

TEST(HeatMap, OfZerosIsWhite) {
  const Picture picture = draw_heat_map(map_of(1, 2, {0, 0}));
  EXPECT_EQ(picture.at(kLeft + 100, kTop + 100), kWhite);
}

TEST(HeatMap, ManyCellsHaveAPixelEach) {
  std::vector<double> values(600 * 700);
  values.back() = 1;
  const Picture picture = draw_heat_map(map_of(600, 700, values));
  EXPECT_EQ(picture.at(kLeft + 699, kTop + 599), kDark);
  EXPECT_EQ(picture.at(kLeft + 698, kTop + 599), kWhite);
}

TEST(HeatMap, RefusesWhatIsNoMap) {
  expect_error<ShapeError>([] { draw_heat_map(map_of(2, 2, {1})); }, {"1 values", "2 x 2"});
  expect_error<ShapeError>([] { draw_heat_map(map_of(0, 2, {})); }, {"0 x 2"});
  expect_error<ShapeError>([] { draw_heat_map(map_of(1, 5000, std::vector<double>(5000))); },
                           {"4096"});
  for (const double value :
       {-1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    expect_error<ShapeError>([&] { draw_heat_map(map_of(1, 1, {value})); }, {"expected 0 or more"});
  }
}

}  // namespace
}  // namespace shira
