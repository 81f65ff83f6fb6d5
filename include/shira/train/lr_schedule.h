// The learning rate of each optimiser step: a linear warm-up, then constant, linear or cosine, with
// the multipliers of transformers' get_scheduler (constant_with_warmup, linear, cosine).
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace shira {

enum class LrKind { kConstant, kLinear, kCosine };

struct LrSchedule {
  LrKind kind = LrKind::kLinear;
  double peak = 0.0;              // reached after the warm-up
  std::int64_t warmup_steps = 0;  // from 0 up to the peak
  std::int64_t total_steps = 0;   // where linear and cosine reach 0
};

/// The learning rate of the step before which `step` optimiser steps were done (0 = the first one).
/// With a warm-up the first step's rate is 0, as in transformers.
SHIRA_API double learning_rate_at(const LrSchedule& schedule, std::int64_t step);

/// constant | linear | cosine; ConfigError for another name.
SHIRA_API LrKind parse_lr_kind(std::string_view name);

/// The number of warm-up steps: `steps`, or the share `ratio` of `total_steps` rounded up (as
/// transformers does), or 0.
SHIRA_API std::int64_t count_warmup_steps(std::optional<std::int64_t> steps,
                                          std::optional<double> ratio, std::int64_t total_steps);

}  // namespace shira
