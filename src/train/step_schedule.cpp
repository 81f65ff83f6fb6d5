// Epochs are walked once, in order: with packing their lengths are only known by building them.
#include <shira/train/step_schedule.h>

#include <algorithm>
#include <cmath>

namespace shira {

StepSchedule::StepSchedule(std::function<std::int64_t(std::int64_t)> batches_in_epoch,
                           std::int64_t gradient_accumulation_steps)
    : batches_in_epoch_(std::move(batches_in_epoch)), group_(gradient_accumulation_steps) {}

std::int64_t StepSchedule::length_of(std::int64_t epoch) {
  const auto found = lengths_.find(epoch);
  if (found != lengths_.end()) return found->second;
  return lengths_.emplace(epoch, batches_in_epoch_(epoch)).first->second;
}

std::int64_t StepSchedule::steps_in_epoch(std::int64_t epoch) {
  return (length_of(epoch) + group_ - 1) / group_;
}

std::int64_t StepSchedule::start_of(std::int64_t epoch) {
  while (static_cast<std::int64_t>(starts_.size()) <= epoch) {
    const auto last = static_cast<std::int64_t>(starts_.size()) - 1;
    starts_.push_back(starts_.back() + steps_in_epoch(last));
  }
  return starts_[static_cast<std::size_t>(epoch)];
}

std::int64_t StepSchedule::epoch_of(std::int64_t step) {
  while (starts_.back() <= step) start_of(static_cast<std::int64_t>(starts_.size()));
  return std::ranges::upper_bound(starts_, step) - starts_.begin() - 1;
}

std::int64_t StepSchedule::steps_in(double epochs) {
  const auto whole = static_cast<std::int64_t>(epochs);
  const double rest = epochs - static_cast<double>(whole);
  if (rest == 0.0) return start_of(whole);
  return start_of(whole) +
         static_cast<std::int64_t>(std::ceil(rest * static_cast<double>(steps_in_epoch(whole))));
}

StepBatches StepSchedule::batches_of(std::int64_t step) {
  const std::int64_t epoch = epoch_of(step);
  const std::int64_t first = (step - start_of(epoch)) * group_;
  return {epoch, first, std::min(first + group_, length_of(epoch))};
}

double StepSchedule::epochs_after(std::int64_t steps) {
  const std::int64_t epoch = epoch_of(steps);
  const auto done = static_cast<double>(steps - start_of(epoch));
  return static_cast<double>(epoch) + done / static_cast<double>(steps_in_epoch(epoch));
}

}  // namespace shira
