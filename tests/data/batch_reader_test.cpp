// The loader's batches, ahead of time, whatever is asked for.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/data/batch_reader.h>

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace shira {
namespace {

using Clock = std::chrono::steady_clock;

/// Packed: epochs differ in their number of batches.
DataLoader make_loader() {
  SampleSet set;
  for (std::int64_t i = 0; i < 60; ++i) {
    const TokenIds ids(static_cast<std::size_t>(1 + i * 7 % 13), i);
    set.samples.push_back({ids, ids});
  }
  set.weight = 1.5;
  return DataLoader({set}, {.batch_size = 2, .shuffle_seed = 3, .packing_len = 16});
}

/// `count` samples of so many tokens, a batch each: they take milliseconds to make.
DataLoader make_slow_loader(std::int64_t count) {
  const TokenIds ids(100'000, 1);
  SampleSet set;
  for (std::int64_t i = 0; i < count; ++i) set.samples.push_back({ids, ids});
  return DataLoader({set}, {});
}

void expect_equal(const Batch& batch, const Batch& expected) {
  ASSERT_EQ(batch.size(), expected.size());
  for (const auto& [name, tensor] : expected) EXPECT_TRUE(batch.at(name).equal(tensor)) << name;
}

TEST(BatchReader, GivesTheLoadersBatchesAcrossEpochs) {
  DataLoader expected = make_loader();
  DataLoader loader = make_loader();
  BatchReader reader(loader);
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    const std::int64_t batches = reader.batches_in_epoch(epoch);
    ASSERT_EQ(batches, expected.batches_in_epoch(epoch));
    for (std::int64_t number = 0; number < batches; ++number) {
      expect_equal(reader.batch(epoch, number), expected.batch(epoch, number));
    }
  }
}

TEST(BatchReader, RestartsWhereverItIsAsked) {
  DataLoader expected = make_loader();
  DataLoader loader = make_loader();
  for (const std::int64_t depth : {1, 3}) {
    BatchReader reader(loader, depth);
    for (const auto& [epoch, number] : {std::pair{2, 5},
                                        {0, 0},
                                        {0, 0},
                                        {0, 1},
                                        {0, 3},
                                        {7, 2},
                                        {7, 3},
                                        {7, 1},
                                        {2, 5},
                                        {2, 6},
                                        {0, 1}}) {
      expect_equal(reader.batch(epoch, number), expected.batch(epoch, number));
    }
  }
}

TEST(BatchReader, WhatTheLoaderThrowsIsThrownAtTheCall) {
  DataLoader expected = make_loader();
  DataLoader loader = make_loader();
  BatchReader reader(loader);
  for (int time = 0; time < 2; ++time) {
    expect_error<Error>([&] { reader.batch(0, 999); }, {"batch 999 of epoch 0"});
    expect_error<Error>([&] { reader.batch(0, -1); }, {"batch -1 of epoch 0"});
    expect_equal(reader.batch(0, 4), expected.batch(0, 4));
    expect_equal(reader.batch(0, 5), expected.batch(0, 5));
  }
  expect_error<ConfigError>([&] { BatchReader(loader, 0); }, {"depth 0"});
}

TEST(BatchReader, CanBeDestroyedAtAnyTime) {
  DataLoader loader = make_slow_loader(8);
  {
    BatchReader never_asked(loader);
  }
  {
    BatchReader while_it_reads_ahead(loader);
    (void)while_it_reads_ahead.batch(0, 0);
  }
  BatchReader when_full(loader, 2);
  (void)when_full.batch(0, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

// What was made while the consumer was busy is handed out at once.
TEST(BatchReader, ReadsAheadWhileTheConsumerWorks) {
  DataLoader loader = make_slow_loader(5);
  double best_share = 1.0;
  for (int attempt = 0; attempt < 20 && best_share > 0.1; ++attempt) {  // other programs disturb
    auto begin = Clock::now();
    for (std::int64_t i = 1; i <= 4; ++i) (void)loader.batch(0, i);
    const auto loading = Clock::now() - begin;
    BatchReader reader(loader, 4);
    (void)reader.batch(0, 0);
    std::this_thread::sleep_for(5 * loading);
    begin = Clock::now();
    for (std::int64_t i = 1; i <= 4; ++i) (void)reader.batch(0, i);
    const std::chrono::duration<double> waited = Clock::now() - begin;
    best_share = std::min(best_share, waited / loading);
  }
  EXPECT_LE(best_share, 0.1) << "of the time that the loader takes was waited for";
}

}  // namespace
}  // namespace shira
