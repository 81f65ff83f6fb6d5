// Round steps as in Heckbert, "Nice numbers for graph labels" (Graphics Gems, 1990).
#include "axis_ticks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace shira::detail {
namespace {

double round_step(double span, int most) {
  const double least = span / most;
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= least) return factor * power;
  }
  return 10.0 * power;
}

/// As many digits as tell ticks apart; an exponent only for what would be a long row of zeros.
std::string label_of(double value, double step, double largest) {
  const int exponent = static_cast<int>(std::floor(std::log10(step) + 1e-9));
  const bool plain = step >= 1e-5 && largest < 1e7;
  const int digits = static_cast<int>(std::floor(std::log10(largest) + 1e-9)) - exponent + 1;
  std::array<char, 32> text;
  if (plain) {
    std::snprintf(text.data(), text.size(), "%.*f", std::max(0, -exponent), value);
  } else {
    std::snprintf(text.data(), text.size(), "%.*g", std::clamp(digits, 1, 17), value);
  }
  return text.data();
}

}  // namespace

Axis axis_around(double low, double high, int most) {
  const double size = std::max(std::abs(low), std::abs(high));
  double span = high - low;
  // Equal values, or too close for labels to tell apart: the axis is as wide as the value is large.
  if (span <= 1e-9 * size || span < 1e-100) span = size < 1e-100 ? 1.0 : size;
  const double middle = (low + high) / 2;
  Axis axis{middle - 0.53 * span, middle + 0.53 * span, {}};
  const double step = round_step(axis.end - axis.begin, most);
  const double largest = std::max(std::abs(axis.begin), std::abs(axis.end));
  // + 0.0: a zero without a sign.
  for (double i = std::ceil(axis.begin / step) + 0.0; i * step <= axis.end; ++i) {
    axis.ticks.push_back({i * step, label_of(i * step, step, largest)});
  }
  return axis;
}

}  // namespace shira::detail
