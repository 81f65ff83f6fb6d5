#include "numbers.h"

#include <cmath>
#include <cstdio>

namespace shira::tools {
namespace {

std::string printed(const char* format, double value) {
  char text[48];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

}  // namespace

std::string bytes_text(double bytes) {
  constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  for (; bytes >= 1024.0 && unit < 4; ++unit) bytes /= 1024.0;
  return printed(unit == 0 ? "%.0f " : "%.1f ", bytes) + kUnits[unit];
}

std::string percent_text(std::int64_t part, std::int64_t whole) {
  return printed("%.3g %%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string seconds_text(double seconds) {
  if (seconds < 1.0) return printed("%.3g ms", 1e3 * seconds);
  if (seconds < 60.0) return printed("%.3g s", seconds);
  const double minutes = std::floor(seconds / 60.0);
  if (minutes < 60.0)
    return printed("%.0f min", minutes) + printed(" %.0f s", std::floor(seconds - 60.0 * minutes));
  return printed("%.0f h", std::floor(minutes / 60.0)) +
         printed(" %.0f min", std::fmod(minutes, 60.0));
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : " x ") + std::to_string(size);
  return text;
}

}  // namespace shira::tools
