// Batches are a function of (seed, epoch, number).
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/data/data_loader.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

namespace shira {
namespace {

/// Samples {i, i}, one token longer for each odd i, from `first`.
std::vector<Sample> numbered_samples(std::int64_t count, std::int64_t first = 0) {
  std::vector<Sample> samples;
  for (std::int64_t i = first; i < first + count; ++i) {
    const TokenIds ids(static_cast<std::size_t>(2 + i % 2), i);
    samples.push_back({ids, ids});
  }
  return samples;
}

/// Samples of `lengths`; sample i is all i.
std::vector<Sample> samples_of_lengths(const std::vector<std::int64_t>& lengths) {
  std::vector<Sample> samples;
  for (const std::int64_t length : lengths) {
    const TokenIds ids(static_cast<std::size_t>(length), std::ssize(samples));
    samples.push_back({ids, ids});
  }
  return samples;
}

/// Lengths 1 to 32, short ones more often.
std::vector<std::int64_t> varied_lengths(std::int64_t count) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < count; ++i) lengths.push_back(1 + i * i % 211 * (i % 7 + 1) / 47);
  return lengths;
}

DataLoader one_set(std::vector<Sample> samples, LoaderOptions options) {
  return DataLoader({{std::move(samples), 1.0}}, options);
}

std::vector<std::int64_t> to_vector(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.contiguous();
  const auto* values = flat.const_data_ptr<std::int64_t>();
  return {values, values + flat.numel()};
}

/// The first id of every sample of an epoch, in order.
std::vector<std::int64_t> first_ids(DataLoader& loader, std::int64_t epoch) {
  std::vector<std::int64_t> ids;
  for (std::int64_t number = 0; number < loader.batches_in_epoch(epoch); ++number) {
    const auto column = to_vector(loader.batch(epoch, number).at("input_ids").select(1, 0));
    ids.insert(ids.end(), column.begin(), column.end());
  }
  return ids;
}

/// How often an epoch takes the sample that begins with each id.
std::map<std::int64_t, int> counts(DataLoader& loader, std::int64_t epoch) {
  std::map<std::int64_t, int> counts;
  for (const std::int64_t id : first_ids(loader, epoch)) ++counts[id];
  return counts;
}

TEST(DataLoader, EveryEpochIsAnotherOrderOfAllSamples) {
  DataLoader loader = one_set(numbered_samples(23), {.batch_size = 4, .shuffle_seed = 5});
  const auto first = first_ids(loader, 0);
  const auto second = first_ids(loader, 1);
  EXPECT_EQ(std::set<std::int64_t>(first.begin(), first.end()).size(), 23U);
  EXPECT_NE(first, second);
  EXPECT_EQ(first_ids(loader, 0), first);  // going back gives the same order again
}

// The order belongs to the seed for good, on every platform (random_permutation of the stream
// "epoch N").
TEST(DataLoader, TheOrderOfASeedNeverChanges) {
  DataLoader loader = one_set(numbered_samples(8), {.batch_size = 3, .shuffle_seed = 42});
  EXPECT_EQ(first_ids(loader, 0), (std::vector<std::int64_t>{1, 4, 6, 2, 0, 3, 7, 5}));
  EXPECT_EQ(first_ids(loader, 1), (std::vector<std::int64_t>{6, 1, 0, 7, 3, 4, 2, 5}));
}

TEST(DataLoader, WithoutASeedKeepsTheOrder) {
  DataLoader loader = one_set(numbered_samples(3), {.batch_size = 2});
  EXPECT_EQ(first_ids(loader, 4), (std::vector<std::int64_t>{0, 1, 2}));
}

TEST(DataLoader, PadsOnTheRightWithoutLoss) {
  DataLoader loader = one_set(numbered_samples(2), {.batch_size = 2});
  const Batch batch = loader.batch(0, 0);
  EXPECT_TRUE(
      batch.at("input_ids").equal(at::tensor({0, 0, 0, 1, 1, 1}, torch::kInt64).view({2, 3})));
  EXPECT_TRUE(
      batch.at("labels").equal(at::tensor({0, 0, -100, 1, 1, 1}, torch::kInt64).view({2, 3})));
  EXPECT_TRUE(
      batch.at("attention_mask").equal(at::tensor({1, 1, 0, 1, 1, 1}, torch::kInt64).view({2, 3})));
  EXPECT_EQ(batch.count("cu_seqlens"), 0U);
}

TEST(DataLoader, AHugeBatchSizeIsOneBatch) {
  DataLoader loader =
      one_set(numbered_samples(3), {.batch_size = std::numeric_limits<std::int64_t>::max()});
  EXPECT_EQ(loader.batches_in_epoch(0), 1);
  expect_error<Error>([&] { loader.batch(0, 1); }, {"batch 1 of epoch 0", "has 1"});
}

TEST(DataLoader, AWeightIsHowOftenASampleIsTaken) {
  DataLoader loader({{numbered_samples(10), 2.5}, {numbered_samples(7, 10), 1.0}},
                    {.batch_size = 4, .shuffle_seed = 1});
  std::set<std::set<std::int64_t>> draws;
  for (std::int64_t epoch = 0; epoch < 5; ++epoch) {
    std::set<std::int64_t> drawn;
    for (const auto& [id, count] : counts(loader, epoch)) {
      EXPECT_GE(count, id < 10 ? 2 : 1) << id;
      EXPECT_LE(count, id < 10 ? 3 : 1) << id;
      if (count == 3) drawn.insert(id);
    }
    EXPECT_EQ(drawn.size(), 5U);                   // half of the first set, once more
    EXPECT_EQ(loader.batches_in_epoch(epoch), 8);  // 32 samples
    draws.insert(drawn);
  }
  EXPECT_GT(draws.size(), 2U) << "every epoch draws the same samples";
  EXPECT_EQ(loader.sample_count(), 17);
}

TEST(DataLoader, AWeightThatTakesNothingIsRefused) {
  const auto load = [](double weight) { DataLoader({{numbered_samples(4), weight}}, {}); };
  expect_error<ConfigError>([&] { load(0.1); }, {"weight 0.1", "none of 4 samples"});
  expect_error<ConfigError>([&] { load(0.0); }, {"weight 0,", "more than 0"});
  expect_error<ConfigError>([&] { load(-1.0); }, {"weight -1"});
  expect_error<ConfigError>([&] { load(std::nan("")); }, {"weight nan"});
  expect_error<ConfigError>([] { DataLoader({{{}, 1.0}}, {}); }, {"0 samples"});
  DataLoader({{{}, 0.1}, {numbered_samples(4), 1.0}}, {});  // all of the first set was held out
}

TEST(DataLoader, ABrokenSampleIsRefused) {
  const auto load = [](Sample sample) { one_set({std::move(sample)}, {.packing_len = 2}); };
  expect_error<ShapeError>([&] { load({{}, {}}); }, {"0 ids"});
  expect_error<ShapeError>([&] { load({{1, 2}, {1}}); }, {"2 ids and 1 labels"});
  expect_error<ShapeError>([&] { load({{1, 2, 3}, {1, 2, 3}}); }, {"3 tokens", "packing_len 2"});
}

TEST(DataLoader, TheFingerprintTellsDataApart) {
  const auto samples = numbered_samples(4);
  const auto fingerprint = [](std::vector<Sample> first, std::vector<Sample> second, double weight,
                              std::int64_t packing_len) {
    return DataLoader({{std::move(first), weight}, {std::move(second), 1.0}},
                      {.packing_len = packing_len})
        .fingerprint();
  };
  const auto other = [&] {
    auto changed = samples;
    changed[3].labels[0] = kIgnoreLabel;
    return changed;
  }();
  const auto before = fingerprint(samples, samples, 1.0, 0);
  EXPECT_EQ(fingerprint(samples, samples, 1.0, 0), before);
  EXPECT_NE(fingerprint(other, samples, 1.0, 0), before);
  EXPECT_NE(fingerprint(samples, other, 1.0, 0), before);
  EXPECT_NE(fingerprint(samples, samples, 1.5, 0), before);
  EXPECT_NE(fingerprint(samples, samples, 1.0, 8), before);
}

TEST(PackedLoader, ABatchIsOneRowWithTheSamplesBounds) {
  // Best fit: 3 opens a sequence, 2 another; 1 goes to the 3, which it fills.
  DataLoader loader = one_set(samples_of_lengths({3, 2, 1}), {.batch_size = 2, .packing_len = 4});
  EXPECT_EQ(loader.batches_in_epoch(0), 1);
  const Batch batch = loader.batch(0, 0);
  EXPECT_EQ(batch.at("input_ids").sizes(), (std::vector<std::int64_t>{1, 6}));
  EXPECT_EQ(to_vector(batch.at("input_ids")), (std::vector<std::int64_t>{0, 0, 0, 2, 1, 1}));
  EXPECT_EQ(to_vector(batch.at("labels")),
            (std::vector<std::int64_t>{-100, 0, 0, -100, -100, 1}));  // none across samples
  EXPECT_TRUE(batch.at("attention_mask").equal(at::ones({1, 6}, torch::kInt64)));
  EXPECT_EQ(to_vector(batch.at("cu_seqlens")), (std::vector<std::int64_t>{0, 3, 4, 6}));
}

TEST(PackedLoader, AnEpochHoldsEverySampleOnceAndFillsItsSequences) {
  const auto lengths = varied_lengths(500);
  DataLoader loader =
      one_set(samples_of_lengths(lengths), {.batch_size = 3, .shuffle_seed = 7, .packing_len = 32});
  std::int64_t tokens = 0;
  std::vector<std::int64_t> seen;
  const std::int64_t batches = loader.batches_in_epoch(2);
  for (std::int64_t number = 0; number < batches; ++number) {
    const Batch batch = loader.batch(2, number);
    const auto ids = to_vector(batch.at("input_ids"));
    const auto bounds = to_vector(batch.at("cu_seqlens"));
    EXPECT_LE(std::ssize(ids), 3 * 32);
    EXPECT_EQ(bounds.back(), std::ssize(ids));
    for (std::size_t i = 0; i + 1 < bounds.size(); ++i) {
      seen.push_back(ids[bounds[i]]);
      EXPECT_EQ(bounds[i + 1] - bounds[i], lengths[seen.back()]);
    }
    tokens += std::ssize(ids);
  }
  EXPECT_EQ(tokens, std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0}));
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::set<std::int64_t>(seen.begin(), seen.end()).size(), 500U);
  EXPECT_EQ(seen.size(), 500U);
  EXPECT_LE(batches, (tokens + 3 * 32 - 1) / (3 * 32) + 1) << "sequences are left half empty";
}

TEST(PackedLoader, BatchesAreAFunctionOfEpochAndNumber) {
  const LoaderOptions options{.batch_size = 2, .shuffle_seed = 3, .packing_len = 32};
  DataLoader forward = one_set(samples_of_lengths(varied_lengths(60)), options);
  DataLoader jumping = one_set(samples_of_lengths(varied_lengths(60)), options);
  std::vector<Batch> batches;
  for (std::int64_t epoch : {0, 1}) {
    for (std::int64_t i = 0; i < 3; ++i) batches.push_back(forward.batch(epoch, i));
  }
  for (const auto& [epoch, number] : {std::pair{1, 2}, {0, 1}, {1, 0}, {0, 2}}) {
    for (const auto& [name, tensor] : jumping.batch(epoch, number)) {
      EXPECT_TRUE(tensor.equal(batches[epoch * 3 + number].at(name))) << name;
    }
  }
  EXPECT_FALSE(batches[0].at("input_ids").equal(batches[3].at("input_ids")));
}

// Twice as many short samples as long ones fill half of the sequences: the first ones made.
TEST(PackedLoader, LongSamplesDoNotGatherAtAnEpochsEnd) {
  std::vector<std::int64_t> lengths;
  for (int i = 0; i < 3000; ++i) lengths.push_back(i % 3 == 0 ? 20 : 3);
  DataLoader loader =
      one_set(samples_of_lengths(lengths), {.batch_size = 1, .shuffle_seed = 1, .packing_len = 32});
  const auto mean_length = [&](std::int64_t begin, std::int64_t end) {
    double tokens = 0;
    double samples = 0;
    for (std::int64_t number = begin; number < end; ++number) {
      const torch::Tensor bounds = loader.batch(0, number).at("cu_seqlens");
      tokens += bounds[-1].item<double>();
      samples += static_cast<double>(bounds.numel() - 1);
    }
    return tokens / samples;
  };
  const std::int64_t batches = loader.batches_in_epoch(0);
  EXPECT_EQ(batches, 1000);
  EXPECT_NEAR(mean_length(0, 200), 26.0 / 3.0, 1.5);
  EXPECT_NEAR(mean_length(800, 1000), 26.0 / 3.0, 1.5);
}

}  // namespace
}  // namespace shira
