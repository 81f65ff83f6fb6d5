// A matrix of magnitudes in colours, with the scale beside it: where two adapters meet.
#pragma once

#include <shira/base/export.h>
#include <shira/io/picture.h>

#include <cstdint>
#include <string>
#include <vector>

namespace shira {

/// Text is printable ASCII; anything else shows as '?'.
struct HeatMap {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<double> values;  // (rows, columns), 0 or more
};

/// Zero is white; from there pale to dark by the square root of value / largest, so that small
/// values are seen beside large ones. A bar at the right says which colour is which value. A cell
/// is a pixel or more: 512 at least in the longer direction. ShapeError for a map without cells, of
/// more than 4096 in a direction, or with values that are negative or not finite.
SHIRA_API Picture draw_heat_map(const HeatMap& map);

}  // namespace shira
