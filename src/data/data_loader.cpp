// The order of an epoch is a permutation from the counter-based generator, keyed by seed and epoch.
#include <shira/base/error.h>
#include <shira/data/data_loader.h>
#include <shira/io/checksum.h>
#include <shira/kernels/philox.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <numeric>

namespace shira {
namespace {

void fill_row(torch::Tensor matrix, std::int64_t row, const TokenIds& ids) {
  std::copy(ids.begin(), ids.end(), matrix.mutable_data_ptr<std::int64_t>() + row * matrix.size(1));
}

}  // namespace

Batch collate(const std::vector<const Sample*>& samples) {
  const auto rows = static_cast<std::int64_t>(samples.size());
  std::int64_t length = 0;
  for (const Sample* sample : samples) {
    length = std::max(length, static_cast<std::int64_t>(sample->ids.size()));
  }
  const torch::Tensor ids = at::zeros({rows, length}, torch::kInt64);
  const torch::Tensor labels = at::full({rows, length}, kIgnoreLabel, torch::kInt64);
  const torch::Tensor mask = at::zeros({rows, length}, torch::kInt64);
  for (std::int64_t row = 0; row < rows; ++row) {
    const Sample& sample = *samples[static_cast<std::size_t>(row)];
    fill_row(ids, row, sample.ids);
    fill_row(labels, row, sample.labels);
    mask[row].narrow(0, 0, static_cast<std::int64_t>(sample.ids.size())).fill_(1);
  }
  return {{"input_ids", ids}, {"labels", labels}, {"attention_mask", mask}};
}

DataLoader::DataLoader(std::vector<Sample> samples, std::int64_t batch_size,
                       std::optional<std::uint64_t> shuffle_seed)
    : samples_(std::move(samples)), batch_size_(batch_size), shuffle_seed_(shuffle_seed) {
  SHIRA_CHECK(ConfigError, !samples_.empty() && batch_size_ >= 1, "[DataLoader] got ",
              samples_.size(), " samples and batch size ", batch_size_,
              "; both must be at least 1.");
  batch_size_ = std::min(batch_size_, sample_count());
}

std::int64_t DataLoader::batches_per_epoch() const {
  return sample_count() / batch_size_ + (sample_count() % batch_size_ != 0 ? 1 : 0);
}

void DataLoader::order_epoch(std::int64_t epoch) {
  if (epoch == ordered_epoch_) return;
  ordered_epoch_ = epoch;
  if (shuffle_seed_) {
    PhiloxStream stream(*shuffle_seed_, "epoch " + std::to_string(epoch));
    order_ = random_permutation(stream, sample_count());
  } else {
    order_.resize(samples_.size());
    std::iota(order_.begin(), order_.end(), std::int64_t{0});
  }
}

Batch DataLoader::batch(std::int64_t epoch, std::int64_t number) {
  order_epoch(epoch);
  const std::int64_t end = std::min((number + 1) * batch_size_, sample_count());
  std::vector<const Sample*> chosen;
  for (std::int64_t i = number * batch_size_; i < end; ++i) {
    chosen.push_back(&samples_[static_cast<std::size_t>(order_[static_cast<std::size_t>(i)])]);
  }
  return collate(chosen);
}

std::uint64_t DataLoader::fingerprint() const {
  std::vector<std::uint64_t> hashes;
  for (const Sample& sample : samples_) {
    hashes.push_back(xxh3_64(sample.ids.data(), sample.ids.size() * sizeof(std::int64_t)));
    hashes.push_back(xxh3_64(sample.labels.data(), sample.labels.size() * sizeof(std::int64_t)));
  }
  return xxh3_64(hashes.data(), hashes.size() * sizeof(std::uint64_t));
}

}  // namespace shira
