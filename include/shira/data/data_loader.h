// Samples to batches: every batch is a function of (epoch, number), so that a resumed run needs no
// state to go on where it stopped.
#pragma once

#include <shira/base/export.h>
#include <shira/data/dataset.h>

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shira {

/// Tensors by name, as the objective expects them.
using Batch = std::map<std::string, torch::Tensor>;

/// Pads on the right: "input_ids" (B, T) int64 padded with 0, "labels" (B, T) int64 padded with
/// kIgnoreLabel, "attention_mask" (B, T) int64.
SHIRA_API Batch collate(const std::vector<const Sample*>& samples);

class SHIRA_API DataLoader {
 public:
  /// With `shuffle_seed` each epoch has its own order; without, the samples' own.
  DataLoader(std::vector<Sample> samples, std::int64_t batch_size,
             std::optional<std::uint64_t> shuffle_seed);

  std::int64_t sample_count() const { return static_cast<std::int64_t>(samples_.size()); }
  /// The last one may be smaller.
  std::int64_t batches_per_epoch() const;
  Batch batch(std::int64_t epoch, std::int64_t number);
  /// XXH3-64 over all ids and labels: tells a resumed run that the data are the same.
  std::uint64_t fingerprint() const;

 private:
  void order_epoch(std::int64_t epoch);

  std::vector<Sample> samples_;
  std::int64_t batch_size_;
  std::optional<std::uint64_t> shuffle_seed_;
  std::int64_t ordered_epoch_ = -1;
  std::vector<std::int64_t> order_;
};

}  // namespace shira
