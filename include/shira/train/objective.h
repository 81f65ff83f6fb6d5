// What a Trainer minimises.
#pragma once

#include <shira/base/export.h>
#include <shira/data/batch_source.h>

#include <torch/types.h>

#include <cstdint>

namespace shira {

/// batch -> (sum of losses, count of terms); owns head and loss. The trainer divides the sums of an
/// accumulation group by the group's count.
class SHIRA_API Objective {
 public:
  virtual ~Objective() = default;
  /// The sum of the batch's loss terms, a scalar with a gradient.
  virtual torch::Tensor loss_sum(const Batch& batch) = 0;
  /// How many terms loss_sum adds up.
  virtual std::int64_t term_count(const Batch& batch) const = 0;
  /// What throughput is counted in: tokens of a language model.
  virtual std::int64_t item_count(const Batch& batch) const = 0;
};

}  // namespace shira
