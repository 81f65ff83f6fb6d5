// The loader's batches, ahead of time, whatever is asked for.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/data/batch_reader.h>
#include <shira/data/data_loader.h>

#include <gtest/gtest.h>

#include <atomic>

namespace shira {
namespace {

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

/// Counts what is made; without end.
class CountingSource : public BatchSource {
 public:
  std::int64_t batches_in_epoch(std::int64_t /*epoch*/) override { return 1000; }
  Batch batch(std::int64_t /*epoch*/, std::int64_t number) override {
    ++made;
    made.notify_all();
    return {{"number", torch::tensor(number)}};
  }
  std::uint64_t fingerprint() const override { return 0; }

  void wait_until_made(std::int64_t count) {
    for (std::int64_t now = made; now < count; now = made) made.wait(now);
  }

  std::atomic<std::int64_t> made = 0;
};

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
  DataLoader loader = make_loader();
  {
    BatchReader never_asked(loader);
  }
  {
    BatchReader while_it_reads_ahead(loader);
    (void)while_it_reads_ahead.batch(0, 0);
  }
  CountingSource source;
  BatchReader when_full(source, 2);
  (void)when_full.batch(0, 0);
  source.wait_until_made(3);
}

// Hangs where nothing is made unasked.
TEST(BatchReader, ReadsAheadWhileTheConsumerWorks) {
  CountingSource source;
  BatchReader reader(source, 4);
  for (std::int64_t taken = 1; taken <= 10; ++taken) {
    EXPECT_EQ(reader.batch(0, taken - 1).at("number").item<std::int64_t>(), taken - 1);
    source.wait_until_made(taken + 4);
    EXPECT_EQ(source.made, taken + 4);
  }
}

}  // namespace
}  // namespace shira
