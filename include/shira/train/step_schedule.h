// Which batches an optimiser step consists of. A pure function of the step, so that a checkpoint
// needs no more than its number.
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

namespace shira {

/// The batches [first, end) of an epoch that one optimiser step adds up.
struct StepBatches {
  std::int64_t epoch = 0;
  std::int64_t first = 0;
  std::int64_t end = 0;
};

/// Accumulation groups do not cross epochs: the last one of an epoch may be smaller. Epochs may
/// differ in length.
class SHIRA_API StepSchedule {
 public:
  /// `batches_in_epoch` gives the number of batches of an epoch, at least 1.
  StepSchedule(std::function<std::int64_t(std::int64_t)> batches_in_epoch,
               std::int64_t gradient_accumulation_steps);

  /// The steps of `epochs` epochs, the fraction of a last one rounded up.
  std::int64_t steps_in(double epochs);
  StepBatches batches_of(std::int64_t step);
  /// Epochs done after `steps` steps, as a fraction.
  double epochs_after(std::int64_t steps);

 private:
  std::int64_t length_of(std::int64_t epoch);
  std::int64_t steps_in_epoch(std::int64_t epoch);
  std::int64_t start_of(std::int64_t epoch);
  std::int64_t epoch_of(std::int64_t step);

  std::function<std::int64_t(std::int64_t)> batches_in_epoch_;
  std::int64_t group_;
  std::map<std::int64_t, std::int64_t> lengths_;  // asked once: the reader may be busy
  std::vector<std::int64_t> starts_ = {0};        // the first step of each epoch reached so far
};

}  // namespace shira
