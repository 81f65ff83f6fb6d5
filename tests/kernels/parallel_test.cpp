// Chunks cover everything once, and failures come out in order.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/kernels/parallel.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace shira {
namespace {

using Ranges = std::vector<std::pair<std::int64_t, std::int64_t>>;

Ranges ranges_of(std::int64_t count, std::int64_t grain) {
  Ranges ranges(static_cast<std::size_t>(chunk_count(count, grain)));
  parallel_chunks(count, grain, [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
    ranges[static_cast<std::size_t>(chunk)] = {begin, end};
  });
  return ranges;
}

TEST(ParallelChunks, CoverEverythingOnceInRangesThatOnlyTheGrainDecides) {
  EXPECT_EQ(ranges_of(10, 4), (Ranges{{0, 4}, {4, 8}, {8, 10}}));
  EXPECT_EQ(ranges_of(8, 4), (Ranges{{0, 4}, {4, 8}}));
  EXPECT_EQ(ranges_of(3, 100), (Ranges{{0, 3}}));
  EXPECT_EQ(ranges_of(0, 4), Ranges{});
}

TEST(ParallelChunks, ThrowOnWhatTheLowestChunkThrew) {
  const auto fail_from_3 = [](std::int64_t, std::int64_t, std::int64_t chunk) {
    if (chunk >= 3) throw ShapeError("chunk " + std::to_string(chunk));
  };
  expect_error<ShapeError>([&] { parallel_chunks(100, 1, fail_from_3); }, {"chunk 3"});
}

TEST(ParallelChunks, RefuseAGrainOfNothing) {
  const auto nothing = [](std::int64_t, std::int64_t, std::int64_t) {};
  expect_error<ShapeError>([&] { parallel_chunks(1, 0, nothing); }, {"chunks of 0"});
  expect_error<ShapeError>([&] { parallel_chunks(-1, 1, nothing); }, {"-1 items"});
}

}  // namespace
}  // namespace shira
