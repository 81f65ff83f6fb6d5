// Layout from the top: title, legend, plot, tick labels, x label; the y label runs up the left
// side.
#include "axis_ticks.h"
#include "drawing.h"

#include <shira/io/line_chart.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace shira {
namespace {

using detail::Axis;
using detail::kTextHeight;
using detail::PixelPoint;
using detail::Tick;

constexpr int kWidth = 900;
constexpr int kHeight = 560;
constexpr int kMargin = 16;
constexpr int kSwatch = 28;  // the piece of line in a legend
constexpr int kMostColumns = 7;
constexpr int kMostRows = 7;

constexpr Rgb kInk{40, 40, 48};
constexpr Rgb kGrid{226, 228, 232};
constexpr Rgb kFrame{140, 144, 152};
/// Told apart by the colour-blind too: Okabe and Ito, "Color Universal Design", 2008.
constexpr std::array<Rgb, 6> kColours{
    {{0, 114, 178}, {230, 120, 0}, {0, 158, 115}, {204, 80, 150}, {86, 180, 233}, {90, 90, 90}}};

/// The area of the lines, in pixels, and its axes.
struct Plot {
  PixelPoint at(double x, double y) const {
    return {static_cast<float>(left + x_axis.share(x) * (right - left)),
            static_cast<float>(bottom - y_axis.share(y) * (bottom - top))};
  }

  Axis x_axis;
  Axis y_axis;
  int left = 0;
  int top = 0;
  int right = 0;
  int bottom = 0;
};

Rgb colour_of(std::size_t series) { return kColours[series % kColours.size()]; }

/// Not NaN, not infinite, and far enough from the largest number to calculate with.
bool drawable(const ChartPoint& point) {
  return std::abs(point.x) < 1e300 && std::abs(point.y) < 1e300;
}

/// The axis along one coordinate of all points; 0 to 1 when there are none.
Axis axis_of(const LineChart& chart, double ChartPoint::* coordinate, int most) {
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const ChartSeries& series : chart.series) {
    for (const ChartPoint& point : series.points) {
      if (!drawable(point)) continue;
      low = std::min(low, point.*coordinate);
      high = std::max(high, point.*coordinate);
    }
  }
  return low <= high ? detail::axis_around(low, high, most) : detail::axis_around(0, 1, most);
}

/// Draws the legend from (left, top) on, as many rows as it takes; returns where the last row ends.
int draw_legend(Picture& picture, const LineChart& chart, int left, int top) {
  int x = left;
  int y = top;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const std::string& name = chart.series[i].name;
    const int width = kSwatch + 8 + detail::text_width(name);
    if (x > left && x + width > kWidth - kMargin) {
      x = left;
      y += kTextHeight + 6;
    }
    detail::fill_rectangle(picture, x, y + 5, kSwatch, 4, colour_of(i));
    detail::draw_text(picture, x + kSwatch + 8, y, name, kInk);
    x += width + 24;
  }
  return y + kTextHeight;
}

int widest_label(const Axis& axis) {
  int widest = 0;
  for (const Tick& tick : axis.ticks) widest = std::max(widest, detail::text_width(tick.label));
  return widest;
}

void draw_x_axis(Picture& picture, const Plot& plot) {
  for (const Tick& tick : plot.x_axis.ticks) {
    const int x = static_cast<int>(std::lround(plot.at(tick.value, 0).x));
    const int label_left = x - detail::text_width(tick.label) / 2;
    detail::fill_rectangle(picture, x, plot.top, 1, plot.bottom - plot.top, kGrid);
    detail::fill_rectangle(picture, x, plot.bottom, 1, 6, kFrame);
    detail::draw_text(picture, label_left, plot.bottom + 10, tick.label, kInk);
  }
  detail::fill_rectangle(picture, plot.left, plot.bottom, plot.right - plot.left, 1, kFrame);
}

void draw_y_axis(Picture& picture, const Plot& plot) {
  for (const Tick& tick : plot.y_axis.ticks) {
    const int y = static_cast<int>(std::lround(plot.at(0, tick.value).y));
    const int label_left = plot.left - 10 - detail::text_width(tick.label);
    detail::fill_rectangle(picture, plot.left, y, plot.right - plot.left, 1, kGrid);
    detail::fill_rectangle(picture, plot.left - 6, y, 6, 1, kFrame);
    detail::draw_text(picture, label_left, y - 7, tick.label, kInk);
  }
  detail::fill_rectangle(picture, plot.left, plot.top, 1, plot.bottom - plot.top, kFrame);
}

void draw_series(Picture& picture, const ChartSeries& series, Rgb colour, const Plot& plot) {
  constexpr float kGap = std::numeric_limits<float>::quiet_NaN();
  std::vector<PixelPoint> line;
  for (const ChartPoint& point : series.points) {
    line.push_back(drawable(point) ? plot.at(point.x, point.y) : PixelPoint{kGap, kGap});
  }
  detail::draw_polyline(picture, line, 2, colour);
}

void draw_labels(Picture& picture, const LineChart& chart, const Plot& plot) {
  const int x_middle = (plot.left + plot.right - detail::text_width(chart.x_label)) / 2;
  const int y_middle = (plot.top + plot.bottom + detail::text_width(chart.y_label)) / 2;
  detail::draw_text(picture, plot.left, kMargin, chart.title, kInk);
  detail::draw_text(picture, x_middle, kHeight - kMargin - kTextHeight, chart.x_label, kInk);
  detail::draw_text_upwards(picture, kMargin, y_middle, chart.y_label, kInk);
}

}  // namespace

Picture draw_line_chart(const LineChart& chart) {
  Picture picture(kWidth, kHeight);
  Plot plot;
  plot.x_axis = axis_of(chart, &ChartPoint::x, kMostColumns);
  plot.y_axis = axis_of(chart, &ChartPoint::y, kMostRows);
  plot.left = kMargin + kTextHeight + 10 + widest_label(plot.y_axis) + 10;
  plot.right = kWidth - kMargin - 8;
  plot.top = draw_legend(picture, chart, plot.left, kMargin + kTextHeight + 12) + 12;
  plot.bottom = kHeight - kMargin - 2 * kTextHeight - 18;
  draw_labels(picture, chart, plot);
  draw_x_axis(picture, plot);
  draw_y_axis(picture, plot);
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    draw_series(picture, chart.series[i], colour_of(i), plot);
  }
  return picture;
}

}  // namespace shira
