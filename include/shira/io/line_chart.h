// A chart of lines over linear axes: a run's losses, a benchmark's times.
#pragma once

#include <shira/base/export.h>
#include <shira/io/picture.h>

#include <string>
#include <vector>

namespace shira {

struct ChartPoint {
  double x = 0;
  double y = 0;
};

/// One line. A point that is not finite is a gap in it; a point between gaps is a dot.
struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;
};

/// Text is printable ASCII; anything else shows as '?'.
struct LineChart {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<ChartSeries> series;  // coloured in this order: blue, orange, green, ...
};

/// Title, legend, grid, axes with round numbers and the lines: 900 x 560 pixels.
SHIRA_API Picture draw_line_chart(const LineChart& chart);

}  // namespace shira
