// Layout from the left: y label, map, bar, the bar's numbers; the title above and the x label
// below.
#include "axis_ticks.h"
#include "drawing.h"

#include <shira/base/error.h>
#include <shira/io/heat_map.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

namespace shira {
namespace {

using detail::kTextHeight;

constexpr std::int64_t kMostCells = 4096;
constexpr std::int64_t kLeastPixels = 512;
constexpr int kMargin = 16;
constexpr int kGap = 12;
constexpr int kBarWidth = 20;
constexpr int kMostTicks = 6;

constexpr Rgb kInk{40, 40, 48};
constexpr Rgb kFrame{120, 124, 132};
/// Pale to dark; luminance falls evenly, so that it reads in grey as well.
constexpr std::array<Rgb, 5> kColours{
    {{222, 235, 247}, {158, 202, 225}, {66, 146, 198}, {8, 81, 156}, {8, 24, 58}}};

/// The colour at `share` of the way from pale to dark.
Rgb ramp(double share) {
  const double place = std::clamp(share, 0.0, 1.0) * (kColours.size() - 1);
  const std::size_t left = std::min(static_cast<std::size_t>(place), kColours.size() - 2);
  const double part = place - static_cast<double>(left);
  const auto mix = [&](std::uint8_t Rgb::* channel) {
    return static_cast<std::uint8_t>(
        std::lround((1 - part) * kColours[left].*channel + part * kColours[left + 1].*channel));
  };
  return {mix(&Rgb::red), mix(&Rgb::green), mix(&Rgb::blue)};
}

/// How dark a value is, from 0 to 1.
double darkness(double value, double largest) {
  return largest > 0 ? std::sqrt(value / largest) : 0.0;
}

void check(const HeatMap& map) {
  SHIRA_CHECK(ShapeError,
              0 < map.rows && map.rows <= kMostCells && 0 < map.columns &&
                  map.columns <= kMostCells &&
                  map.values.size() == static_cast<std::size_t>(map.rows * map.columns),
              "draw_heat_map: got ", map.values.size(), " values for ", map.rows, " x ",
              map.columns, ", expected as many as cells, up to ", kMostCells, " in a direction");
  for (const double value : map.values) {
    SHIRA_CHECK(ShapeError, 0 <= value && value <= std::numeric_limits<double>::max(),
                "draw_heat_map: got ", value, ", expected 0 or more");
  }
}

/// Where things are, in pixels.
struct Layout {
  explicit Layout(const HeatMap& map)
      : cell(static_cast<int>(
            std::max<std::int64_t>(1, (kLeastPixels + std::max(map.rows, map.columns) - 1) /
                                          std::max(map.rows, map.columns)))),
        width(cell * static_cast<int>(map.columns)),
        height(cell * static_cast<int>(map.rows)) {}

  int cell;
  int width;
  int height;
  int left = kMargin + kTextHeight + kGap;
  int top = kMargin + kTextHeight + kGap;

  int bar_left() const { return left + width + kGap; }
};

void draw_cells(Picture& picture, const HeatMap& map, const Layout& layout, double largest) {
  detail::fill_rectangle(picture, layout.left - 1, layout.top - 1, layout.width + 2,
                         layout.height + 2, kFrame);
  for (std::int64_t row = 0; row < map.rows; ++row) {
    for (std::int64_t column = 0; column < map.columns; ++column) {
      const double value = map.values[static_cast<std::size_t>(row * map.columns + column)];
      detail::fill_rectangle(picture, layout.left + static_cast<int>(column) * layout.cell,
                             layout.top + static_cast<int>(row) * layout.cell, layout.cell,
                             layout.cell, value == 0 ? Rgb{} : ramp(darkness(value, largest)));
    }
  }
}

/// Dark at the top; the numbers stand where their colours are.
void draw_bar(Picture& picture, const Layout& layout, double largest,
              const std::vector<detail::Tick>& ticks) {
  const int left = layout.bar_left();
  detail::fill_rectangle(picture, left - 1, layout.top - 1, kBarWidth + 2, layout.height + 2,
                         kFrame);
  for (int y = 0; y < layout.height; ++y) {
    const double share = 1.0 - (y + 0.5) / layout.height;
    detail::fill_rectangle(picture, left, layout.top + y, kBarWidth, 1, ramp(share));
  }
  for (const detail::Tick& tick : ticks) {
    const double share = darkness(tick.value, largest);
    const int y = layout.top + static_cast<int>(std::lround((1.0 - share) * (layout.height - 1)));
    detail::fill_rectangle(picture, left + kBarWidth, y, 6, 1, kFrame);
    detail::draw_text(picture, left + kBarWidth + 10, y - 7, tick.label, kInk);
  }
}

/// Round numbers from 0 to the largest; 0 alone when all are.
std::vector<detail::Tick> bar_ticks(double largest) {
  if (largest == 0) return {{0.0, "0"}};
  std::vector<detail::Tick> ticks = detail::axis_around(0, largest, kMostTicks).ticks;
  std::erase_if(ticks, [&](const detail::Tick& tick) {  //
    return tick.value < 0 || tick.value > largest;
  });
  return ticks;
}

}  // namespace

Picture draw_heat_map(const HeatMap& map) {
  check(map);
  const Layout layout(map);
  const double largest = *std::ranges::max_element(map.values);
  const std::vector<detail::Tick> ticks = bar_ticks(largest);
  int label_width = 0;
  for (const detail::Tick& tick : ticks) {
    label_width = std::max(label_width, detail::text_width(tick.label));
  }
  const int right = layout.bar_left() + kBarWidth + 10 + label_width;
  const int title_right = layout.left + detail::text_width(map.title);
  Picture picture(std::max(right, title_right) + kMargin,
                  layout.top + layout.height + kGap + kTextHeight + kMargin);
  detail::draw_text(picture, layout.left, kMargin, map.title, kInk);
  detail::draw_text(picture, layout.left, layout.top + layout.height + kGap, map.x_label, kInk);
  detail::draw_text_upwards(picture, kMargin, layout.top + layout.height, map.y_label, kInk);
  draw_cells(picture, map, layout, largest);
  draw_bar(picture, layout, largest, ticks);
  return picture;
}

}  // namespace shira
