#include "timestep_spacing.h"

#include <shira/base/error.h>

#include <algorithm>
#include <cmath>

namespace shira::detail {

std::vector<double> linspace(double start, double stop, std::int64_t count) {
  std::vector<double> values;
  const double step = count > 1 ? (stop - start) / static_cast<double>(count - 1) : 0.0;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<double>(i) * step + start);
  if (count > 1) values.back() = stop;
  return values;
}

std::vector<double> leading_timesteps(std::int64_t spacing, std::int64_t count,
                                      std::int64_t offset) {
  std::vector<double> values;
  for (std::int64_t i = count - 1; i >= 0; --i) {
    values.push_back(static_cast<double>(i * spacing + offset));
  }
  return values;
}

std::vector<double> trailing_timesteps(std::int64_t last, double spacing) {
  const auto start = static_cast<double>(last);
  const auto count = static_cast<std::int64_t>(std::ceil(start / spacing));
  const double delta = (start - spacing) - start;  // as numpy.arange has it, from its first two
  std::vector<double> values;
  for (std::int64_t i = 0; i < count; ++i) {
    const double value = std::nearbyint(start + static_cast<double>(i) * delta);
    if (value >= 1.0) values.push_back(value - 1.0);
  }
  return values;
}

std::vector<double> linspace_timesteps(std::int64_t last, std::int64_t count) {
  std::vector<double> values = linspace(0.0, static_cast<double>(last - 1), count);
  std::ranges::reverse(values);
  return values;
}

std::vector<double> rounded(std::vector<double> values) {
  for (double& value : values) value = std::nearbyint(value);
  return values;
}

std::vector<std::int64_t> whole_timesteps(const SchedulerConfig& config, std::int64_t steps) {
  const std::int64_t trained = config.num_train_timesteps;
  const TimestepSpacing spacing = config.timestep_spacing.value_or(TimestepSpacing::kLeading);
  const std::vector<double> values =
      spacing == TimestepSpacing::kLeading
          ? leading_timesteps(trained / steps, steps, config.steps_offset)
      : spacing == TimestepSpacing::kTrailing
          ? trailing_timesteps(trained, static_cast<double>(trained) / static_cast<double>(steps))
          : rounded(linspace_timesteps(trained, steps));
  SHIRA_CHECK(ConfigError, values.front() < static_cast<double>(trained), "steps_offset: ", steps,
              " leading steps begin at timestep ", values.front(), ", but the model has ", trained,
              ". Take fewer steps or another timestep_spacing.");
  return {values.begin(), values.end()};
}

}  // namespace shira::detail
