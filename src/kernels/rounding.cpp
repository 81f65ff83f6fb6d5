// Round-to-odd keeps an inexact result distinguishable from every midpoint of the narrower type.
#include <shira/kernels/rounding.h>

#include <bit>
#include <cmath>
#include <cstdint>

namespace shira {

float round_to_odd(double value) {
  const auto nearest = static_cast<float>(value);
  const bool exact = static_cast<double>(nearest) == value || std::isnan(value);
  const bool odd = (std::bit_cast<std::uint32_t>(nearest) & 1U) != 0;
  if (exact || odd || std::isinf(nearest)) return nearest;
  // Of the two float32 neighbours of an inexact value one is odd: the one on the other side.
  const float direction = value > static_cast<double>(nearest) ? HUGE_VALF : -HUGE_VALF;
  return std::nextafter(nearest, direction);
}

}  // namespace shira
