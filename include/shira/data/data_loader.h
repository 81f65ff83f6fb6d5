// Samples of text to batches.
#pragma once

#include <shira/base/export.h>
#include <shira/data/batch_source.h>
#include <shira/data/dataset.h>

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace shira {

/// Pads on the right: "input_ids" (B, T) int64 padded with 0, "labels" (B, T) int64 padded with
/// kIgnoreLabel, "attention_mask" (B, T) int64.
SHIRA_API Batch collate(const std::vector<const Sample*>& samples);

struct LoaderOptions {
  std::int64_t batch_size = 1;
  std::optional<std::uint64_t> shuffle_seed = std::nullopt;  // without: the samples' own order
  std::int64_t packing_len = 0;  // > 0: a batch is batch_size sequences of at most so many tokens
};

/// Batches of one epoch after another. An epoch takes every sample of a set floor(weight) times,
/// and round(frac(weight) * samples) of them once more, drawn anew for each epoch.
///
/// Without packing a batch is what collate makes, and an epoch's last one may be smaller. With
/// packing it is one row of N tokens without padding: "input_ids", "labels" and "attention_mask"
/// (1, N), and "cu_seqlens" (samples + 1) int64, where each sample starts, then N
/// (flash-attention's convention). The label at each start is kIgnoreLabel: nothing is predicted
/// across samples.
class SHIRA_API DataLoader : public BatchSource {
 public:
  /// ConfigError for a weight that takes nothing; ShapeError for a sample that is empty, does not
  /// have one label an id, or is longer than packing_len.
  DataLoader(std::vector<SampleSet> sets, LoaderOptions options);

  /// Samples of all sets, whatever their weights.
  std::int64_t sample_count() const { return static_cast<std::int64_t>(samples_.size()); }
  /// Epochs may differ when packing.
  std::int64_t batches_in_epoch(std::int64_t epoch) override;
  Batch batch(std::int64_t epoch, std::int64_t number) override;
  /// XXH3-64 over ids, labels, weights and packing_len.
  std::uint64_t fingerprint() const override;

 private:
  struct Share {  // a set: `count` of samples_, from `begin`
    std::int64_t begin;
    std::int64_t count;
    double weight;
  };

  void check_samples() const;
  std::int64_t samples_in_epoch() const;
  std::vector<std::int64_t> taken_samples(std::int64_t epoch) const;
  void prepare(std::int64_t epoch);
  void cut_into_batches();
  void pack_into_batches(std::int64_t epoch);

  std::vector<Sample> samples_;
  std::vector<Share> shares_;
  LoaderOptions options_;
  std::optional<std::int64_t> epoch_;  // the one that order_ and bounds_ describe
  std::vector<std::int64_t> order_;    // samples, as they are taken
  std::vector<std::int64_t> bounds_;   // batch i takes order_ from bounds_[i] to bounds_[i + 1]
  std::map<std::int64_t, std::int64_t> packed_batches_;  // in the epochs seen so far
};

}  // namespace shira
