// The order of an epoch comes from the counter-based generator, keyed by seed and epoch.
#include "packing.h"

#include <shira/base/error.h>
#include <shira/data/data_loader.h>
#include <shira/io/checksum.h>
#include <shira/kernels/philox.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace shira {
namespace {

constexpr double kLargestWeight = 1e6;

/// From `values`, without LibTorch's threads: batches are made beside a training step.
torch::Tensor make_rows(const TokenIds& values, std::int64_t rows) {
  return at::tensor(values, torch::kInt64).view({rows, -1});
}

Batch make_batch(const TokenIds& ids, const TokenIds& labels, const TokenIds& mask,
                 std::int64_t rows) {
  return {{"input_ids", make_rows(ids, rows)},
          {"labels", make_rows(labels, rows)},
          {"attention_mask", make_rows(mask, rows)}};
}

/// A packed batch: the samples in one row.
Batch concatenate(const std::vector<const Sample*>& samples) {
  TokenIds ids;
  TokenIds labels;
  std::vector<std::int64_t> starts = {0};
  for (const Sample* sample : samples) {
    ids.insert(ids.end(), sample->ids.begin(), sample->ids.end());
    labels.push_back(kIgnoreLabel);
    labels.insert(labels.end(), sample->labels.begin() + 1, sample->labels.end());
    starts.push_back(std::ssize(ids));
  }
  Batch batch = make_batch(ids, labels, TokenIds(ids.size(), 1), 1);
  batch["cu_seqlens"] = at::tensor(starts, torch::kInt64);
  return batch;
}

std::int64_t count_drawn(std::int64_t count, double weight) {
  return std::llround((weight - std::floor(weight)) * static_cast<double>(count));
}

/// `values` in the order that belongs to seed and name.
template <typename T>
std::vector<T> shuffled(std::vector<T> values, std::uint64_t seed, const std::string& name) {
  PhiloxStream stream(seed, name);
  std::vector<T> result;
  result.reserve(values.size());
  for (const std::int64_t i : random_permutation(stream, std::ssize(values))) {
    result.push_back(std::move(values[i]));
  }
  return result;
}

}  // namespace

Batch collate(const std::vector<const Sample*>& samples) {
  std::size_t length = 0;
  for (const Sample* sample : samples) length = std::max(length, sample->ids.size());
  TokenIds ids;
  TokenIds labels;
  TokenIds mask;
  for (std::size_t end = length; const Sample* sample : samples) {
    ids.insert(ids.end(), sample->ids.begin(), sample->ids.end());
    labels.insert(labels.end(), sample->labels.begin(), sample->labels.end());
    mask.insert(mask.end(), sample->ids.size(), 1);
    ids.resize(end, 0);
    labels.resize(end, kIgnoreLabel);
    mask.resize(end, 0);
    end += length;
  }
  return make_batch(ids, labels, mask, std::ssize(samples));
}

DataLoader::DataLoader(std::vector<SampleSet> sets, LoaderOptions options)
    : options_(std::move(options)) {
  for (SampleSet& set : sets) {
    shares_.push_back({sample_count(), std::ssize(set.samples), set.weight});
    std::move(set.samples.begin(), set.samples.end(), std::back_inserter(samples_));
  }
  SHIRA_CHECK(ConfigError, !samples_.empty() && options_.batch_size >= 1, "[DataLoader] got ",
              samples_.size(), " samples and batch size ", options_.batch_size,
              "; both must be at least 1.");
  check_samples();
  options_.batch_size = std::min(options_.batch_size, samples_in_epoch());
}

void DataLoader::check_samples() const {
  for (const Sample& sample : samples_) {
    const std::int64_t length = std::ssize(sample.ids);
    SHIRA_CHECK(ShapeError, length > 0 && std::ssize(sample.labels) == length,
                "[DataLoader] got a sample of ", length, " ids and ", sample.labels.size(),
                " labels; expected at least one id, and a label for each.");
    SHIRA_CHECK(ShapeError, options_.packing_len == 0 || length <= options_.packing_len,
                "[DataLoader] got a sample of ", length, " tokens, expected at most packing_len ",
                options_.packing_len, ".");
  }
}

std::int64_t DataLoader::samples_in_epoch() const {
  std::int64_t total = 0;
  for (const Share& share : shares_) {
    if (share.count == 0) continue;  // all of them were held out
    SHIRA_CHECK(ConfigError, share.weight > 0.0 && share.weight <= kLargestWeight,
                "datasets: got weight ", share.weight, ", expected more than 0 and at most ",
                kLargestWeight, ".");
    const std::int64_t taken = static_cast<std::int64_t>(share.weight) * share.count +
                               count_drawn(share.count, share.weight);
    SHIRA_CHECK(ConfigError, taken > 0, "datasets: weight ", share.weight, " takes none of ",
                share.count, " samples. Raise it, or leave the data set out.");
    total += taken;
  }
  return total;
}

/// In the sets' own order.
std::vector<std::int64_t> DataLoader::taken_samples(std::int64_t epoch) const {
  std::vector<std::int64_t> taken;
  for (std::size_t set = 0; set < shares_.size(); ++set) {
    const auto [begin, count, weight] = shares_[set];
    const std::int64_t whole = static_cast<std::int64_t>(weight) * count;
    for (std::int64_t i = 0; i < whole; ++i) taken.push_back(begin + i % count);
    PhiloxStream stream(options_.shuffle_seed.value_or(0),
                        detail::concat("epoch ", epoch, " of data set ", set));
    for (const std::int64_t i :
         sample_without_replacement(stream, count, count_drawn(count, weight))) {
      taken.push_back(begin + i);
    }
  }
  return taken;
}

void DataLoader::prepare(std::int64_t epoch) {
  if (epoch == epoch_) return;
  epoch_.reset();
  order_ = taken_samples(epoch);
  if (options_.shuffle_seed) {
    order_ = shuffled(std::move(order_), *options_.shuffle_seed, detail::concat("epoch ", epoch));
  }
  options_.packing_len > 0 ? pack_into_batches(epoch) : cut_into_batches();
  epoch_ = epoch;
}

void DataLoader::cut_into_batches() {
  bounds_.clear();
  for (std::int64_t i = 0; i < std::ssize(order_); i += options_.batch_size) bounds_.push_back(i);
  bounds_.push_back(std::ssize(order_));
}

/// The sequences are shuffled, too: short samples find room in the sequences there are, so that
/// those made last hold the long ones.
void DataLoader::pack_into_batches(std::int64_t epoch) {
  std::vector<std::int64_t> lengths;
  for (const std::int64_t sample : order_) lengths.push_back(std::ssize(samples_[sample].ids));
  auto sequences = pack_best_fit(lengths, options_.packing_len);
  if (options_.shuffle_seed) {
    sequences = shuffled(std::move(sequences), *options_.shuffle_seed,
                         detail::concat("sequences of epoch ", epoch));
  }
  std::vector<std::int64_t> packed;
  bounds_.clear();
  for (std::int64_t i = 0; i < std::ssize(sequences); ++i) {
    if (i % options_.batch_size == 0) bounds_.push_back(std::ssize(packed));
    for (const std::int64_t position : sequences[i]) packed.push_back(order_[position]);
  }
  bounds_.push_back(std::ssize(packed));
  order_ = std::move(packed);
}

std::int64_t DataLoader::batches_in_epoch(std::int64_t epoch) {
  if (options_.packing_len == 0) {
    const std::int64_t samples = samples_in_epoch();
    return samples / options_.batch_size + (samples % options_.batch_size != 0 ? 1 : 0);
  }
  const auto found = packed_batches_.find(epoch);
  if (found != packed_batches_.end()) return found->second;
  prepare(epoch);
  return packed_batches_[epoch] = std::ssize(bounds_) - 1;
}

Batch DataLoader::batch(std::int64_t epoch, std::int64_t number) {
  prepare(epoch);
  SHIRA_CHECK(Error, number >= 0 && number < std::ssize(bounds_) - 1, "[DataLoader] got batch ",
              number, " of epoch ", epoch, ", which has ", bounds_.size() - 1, ".");
  std::vector<const Sample*> chosen;
  for (std::int64_t i = bounds_[number]; i < bounds_[number + 1]; ++i) {
    chosen.push_back(&samples_[order_[i]]);
  }
  return options_.packing_len > 0 ? concatenate(chosen) : collate(chosen);
}

std::uint64_t DataLoader::fingerprint() const {
  std::vector<std::uint64_t> hashes = {static_cast<std::uint64_t>(options_.packing_len)};
  for (const Share& share : shares_) {
    hashes.push_back(static_cast<std::uint64_t>(share.count));
    hashes.push_back(xxh3_64(&share.weight, sizeof(share.weight)));
  }
  for (const Sample& sample : samples_) {
    hashes.push_back(xxh3_64(sample.ids.data(), sample.ids.size() * sizeof(std::int64_t)));
    hashes.push_back(xxh3_64(sample.labels.data(), sample.labels.size() * sizeof(std::int64_t)));
  }
  return xxh3_64(hashes.data(), hashes.size() * sizeof(std::uint64_t));
}

}  // namespace shira
