// Where a linear axis begins and ends, and the round numbers along it.
#pragma once

#include <string>
#include <vector>

namespace shira::detail {

struct Tick {
  double value = 0;
  std::string label;
};

struct Axis {
  double begin = 0;
  double end = 1;  // > begin
  std::vector<Tick> ticks;

  /// 0 at the beginning, 1 at the end.
  double share(double value) const { return (value - begin) / (end - begin); }
};

/// An axis around the values `low` <= `high`, a little wider than they are. The ticks are `most` or
/// fewer multiples of 1, 2 or 5 times a power of ten.
Axis axis_around(double low, double high, int most);

}  // namespace shira::detail
