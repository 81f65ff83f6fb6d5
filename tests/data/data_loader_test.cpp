// Batches are a function of (epoch, number).
#include <shira/data/data_loader.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <set>

namespace shira {
namespace {

/// Samples {i, i}, one token longer for each odd i.
std::vector<Sample> numbered_samples(std::int64_t count) {
  std::vector<Sample> samples;
  for (std::int64_t i = 0; i < count; ++i) {
    const TokenIds ids(static_cast<std::size_t>(2 + i % 2), i);
    samples.push_back({ids, ids});
  }
  return samples;
}

std::vector<std::int64_t> first_ids(DataLoader& loader, std::int64_t epoch) {
  std::vector<std::int64_t> ids;
  for (std::int64_t number = 0; number < loader.batches_per_epoch(); ++number) {
    const torch::Tensor column =
        loader.batch(epoch, number).at("input_ids").select(1, 0).contiguous();
    const auto* first = column.const_data_ptr<std::int64_t>();
    ids.insert(ids.end(), first, first + column.numel());
  }
  return ids;
}

TEST(DataLoader, EveryEpochIsAnotherOrderOfAllSamples) {
  DataLoader loader(numbered_samples(23), 4, 5);
  const auto first = first_ids(loader, 0);
  const auto second = first_ids(loader, 1);
  EXPECT_EQ(std::set<std::int64_t>(first.begin(), first.end()).size(), 23U);
  EXPECT_NE(first, second);
  EXPECT_EQ(first_ids(loader, 0), first);  // going back gives the same order again
}

TEST(DataLoader, WithoutASeedKeepsTheOrder) {
  DataLoader loader(numbered_samples(3), 2, std::nullopt);
  EXPECT_EQ(first_ids(loader, 4), (std::vector<std::int64_t>{0, 1, 2}));
}

TEST(DataLoader, PadsOnTheRightWithoutLoss) {
  DataLoader loader(numbered_samples(2), 2, std::nullopt);
  const Batch batch = loader.batch(0, 0);
  EXPECT_TRUE(
      batch.at("input_ids").equal(at::tensor({0, 0, 0, 1, 1, 1}, torch::kInt64).view({2, 3})));
  EXPECT_TRUE(
      batch.at("labels").equal(at::tensor({0, 0, -100, 1, 1, 1}, torch::kInt64).view({2, 3})));
  EXPECT_TRUE(
      batch.at("attention_mask").equal(at::tensor({1, 1, 0, 1, 1, 1}, torch::kInt64).view({2, 3})));
}

TEST(DataLoader, TheFingerprintTellsDataApart) {
  auto samples = numbered_samples(4);
  const auto before = DataLoader(samples, 2, 0).fingerprint();
  EXPECT_EQ(DataLoader(samples, 2, 0).fingerprint(), before);
  samples[3].labels[0] = kIgnoreLabel;
  EXPECT_NE(DataLoader(samples, 2, 0).fingerprint(), before);
}

TEST(SplitDataset, TakesAShareOrACountAndLosesNothing) {
  for (const auto& [size, expected] : {std::pair{0.25, 5U}, {3.0, 3U}, {0.0, 0U}}) {
    const DatasetSplit split = split_dataset(numbered_samples(20), size, 1);
    EXPECT_EQ(split.validation.size(), expected);
    EXPECT_EQ(split.train.size() + split.validation.size(), 20U);
  }
  EXPECT_ANY_THROW(split_dataset(numbered_samples(3), 3.0, 1));
}

}  // namespace
}  // namespace shira
