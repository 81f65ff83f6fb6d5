// transformers/optimization.py, operation by operation, so that the doubles agree.
#include <shira/base/error.h>
#include <shira/train/lr_schedule.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace shira {
namespace {

double quotient(std::int64_t part, std::int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(std::max<std::int64_t>(1, whole));
}

// The multiplier once the warm-up is over. Cosine makes half a turn.
double decay_at(const LrSchedule& schedule, std::int64_t step) {
  const std::int64_t decay_steps = schedule.total_steps - schedule.warmup_steps;
  switch (schedule.kind) {
    case LrKind::kConstant: return 1.0;
    case LrKind::kLinear: return std::max(0.0, quotient(schedule.total_steps - step, decay_steps));
    case LrKind::kCosine: break;
  }
  const double progress = quotient(step - schedule.warmup_steps, decay_steps);
  return std::max(0.0, 0.5 * (1.0 + std::cos(std::numbers::pi * progress)));
}

}  // namespace

double learning_rate_at(const LrSchedule& schedule, std::int64_t step) {
  const bool is_warming_up = step < schedule.warmup_steps;
  const double multiplier =
      is_warming_up ? quotient(step, schedule.warmup_steps) : decay_at(schedule, step);
  return schedule.peak * multiplier;
}

LrKind parse_lr_kind(std::string_view name) {
  if (name == "constant") return LrKind::kConstant;
  if (name == "linear") return LrKind::kLinear;
  if (name == "cosine") return LrKind::kCosine;
  throw ConfigError(
      detail::concat("lr_scheduler: got '", name, "', expected one of constant, linear, cosine"));
}

std::int64_t count_warmup_steps(std::optional<std::int64_t> steps, std::optional<double> ratio,
                                std::int64_t total_steps) {
  if (steps) return *steps;
  const double share_of_total = ratio.value_or(0.0) * static_cast<double>(total_steps);
  return static_cast<std::int64_t>(std::ceil(share_of_total));
}

}  // namespace shira
