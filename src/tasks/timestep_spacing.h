// Which timesteps a sampler visits: numpy's arithmetic in double, operation for operation, because
// a half that rounds the other way is another timestep.
#pragma once

#include <shira/tasks/scheduler_config.h>

#include <cstdint>
#include <vector>

namespace shira::detail {

/// numpy.linspace(start, stop, count).
std::vector<double> linspace(double start, double stop, std::int64_t count);

/// 0, 1, ... times `spacing`, plus `offset`, `count` of them in descending order.
std::vector<double> leading_timesteps(std::int64_t spacing, std::int64_t count,
                                      std::int64_t offset);

/// From `last` - 1 downwards in steps of `spacing`, rounded. (Where numpy.arange's rounding makes
/// diffusers add a timestep of -1, as for 61 of 1000, this does not.)
std::vector<double> trailing_timesteps(std::int64_t last, double spacing);

/// Evenly from `last` - 1 down to 0, not rounded.
std::vector<double> linspace_timesteps(std::int64_t last, std::int64_t count);

/// The `steps` whole timesteps of DDPM, DDIM and PNDM, in descending order. ConfigError when
/// steps_offset moves one out of range.
std::vector<std::int64_t> whole_timesteps(const SchedulerConfig& config, std::int64_t steps);

/// Every value rounded to a whole number, halves to the even one.
std::vector<double> rounded(std::vector<double> values);

}  // namespace shira::detail
