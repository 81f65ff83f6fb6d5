// The code of sorted positions by hand, there and back, and damaged.
#include "expect_error.h"

#include <shira/base/error.h>
#include <shira/io/index_codec.h>

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace shira {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Indices = std::vector<std::int32_t>;
using Restarts = std::vector<std::int64_t>;

constexpr std::int64_t kLimit = std::int64_t{1} << 31;

/// Sorted, with gaps of 1 to `largest_gap`.
Indices random_indices(std::size_t count, int largest_gap) {
  std::mt19937 random(count);
  Indices indices(count);
  std::int32_t index = -1;
  for (auto& out : indices) out = index += 1 + static_cast<int>(random() % largest_gap);
  return indices;
}

void expect_round_trip(const Indices& indices) {
  const EncodedIndices encoded = encode_indices(indices);
  const auto count = static_cast<std::int64_t>(indices.size());
  EXPECT_EQ(decode_indices({encoded.gaps, encoded.restarts, count, kLimit}), indices);
  const std::int64_t limit = indices.empty() ? 0 : indices.back() + std::int64_t{1};
  EXPECT_EQ(decode_indices({encoded.gaps, encoded.restarts, count, limit}), indices);
}

void expect_refused(const Bytes& gaps, const Restarts& restarts, std::int64_t count,
                    std::int64_t limit, std::initializer_list<std::string_view> words) {
  expect_error<IoError>([&] { decode_indices({gaps, restarts, count, limit}); }, words);
}

TEST(IndexCodecTest, BytesAreGaps) {
  // 3; 3 + 254; 257 + 255; 512 + 600 = 512 + 2 * 255 + 90
  const EncodedIndices encoded = encode_indices(Indices{3, 257, 512, 1112});
  EXPECT_EQ(encoded.gaps, (Bytes{3, 254, 255, 0, 255, 255, 90}));
  EXPECT_TRUE(encoded.restarts.empty());
}

TEST(IndexCodecTest, RoundTripsOfEdgeCases) {
  expect_round_trip({});
  expect_round_trip({0});
  expect_round_trip({0, 1});
  expect_round_trip({254});
  expect_round_trip({255});
  expect_round_trip({0, 255, 510, 1020});
  expect_round_trip({0, 2147483647});
}

TEST(IndexCodecTest, RoundTripsAroundBlocks) {
  for (const std::int64_t count : {kIndexBlock - 1, kIndexBlock, kIndexBlock + 1, 2 * kIndexBlock,
                                   2 * kIndexBlock + 1, 5 * kIndexBlock + 7}) {
    for (const int largest_gap : {1, 200, 2000}) {
      expect_round_trip(random_indices(static_cast<std::size_t>(count), largest_gap));
    }
  }
}

TEST(IndexCodecTest, RestartsHoldTheIndexBeforeTheBlockAndItsByte) {
  Indices indices(2 * kIndexBlock + 1);
  std::iota(indices.begin(), indices.end(), 0);
  EXPECT_EQ(encode_indices(indices).restarts, (Restarts{65535, 65536, 131071, 131072}));
  indices.resize(2 * kIndexBlock);
  EXPECT_EQ(encode_indices(indices).restarts, (Restarts{65535, 65536}));
}

TEST(IndexCodecTest, OnePercentCostsAboutOneByteAnEntry) {
  const Indices indices = random_indices(100'000, 199);  // mean gap 100, none above 254
  EXPECT_EQ(encode_indices(indices).gaps.size(), indices.size());
}

TEST(IndexCodecTest, OnlySortedUniqueNotNegativeIndicesAreEncoded) {
  expect_error<ShapeError>([] { encode_indices(Indices{-1}); }, {"-1", "not negative"});
  expect_error<ShapeError>([] { encode_indices(Indices{5, 5}); }, {"5 after 5"});
  expect_error<ShapeError>([] { encode_indices(Indices{5, 4}); }, {"4 after 5"});
}

TEST(IndexCodecTest, AnotherCountIsRefused) {
  expect_refused({1, 1, 1}, {}, 2, kLimit, {"more than the expected 2"});
  expect_refused({255, 1, 1}, {}, 3, kLimit, {"ends after 2 of 3"});
  expect_refused({1, 1}, {}, 3, kLimit, {"2 bytes for 3 indices"});
  expect_refused({1}, {}, 0, kLimit, {"1 bytes for 0 indices"});
  expect_refused({}, {}, 1, kLimit, {"0 bytes for 1 indices"});
  expect_refused({}, {}, -1, kLimit, {"-1 indices"});
}

TEST(IndexCodecTest, IndicesAtOrAboveTheLimitAreRefused) {
  EXPECT_EQ(decode_indices({Bytes{9}, {}, 1, 10}), Indices{9});
  expect_refused({9}, {}, 1, 9, {"index 9", "below 9"});
  expect_refused({255, 255, 0}, {}, 1, 300, {"index 510", "below 300"});
  expect_refused({1, 1}, {}, 2, 1, {"2 indices below 1"});
  expect_refused({1}, {}, 1, kLimit + 1, {"limit <= 2^31"});
  expect_refused({1}, {}, 1, -1, {"below -1"});
}

TEST(IndexCodecTest, AnIndexBeyondInt32IsRefused) {
  Bytes gaps(8'421'506, 255);  // 255 * 8421505 = 2^31 + 127
  gaps.back() = 0;
  expect_refused(gaps, {}, 1, kLimit, {"2147483775"});
}

TEST(IndexCodecTest, ARepeatedIndexIsRefused) {
  EXPECT_EQ(decode_indices({Bytes{0, 1}, {}, 2, 10}), (Indices{0, 1}));
  expect_refused({0, 0}, {}, 2, 10, {"index 0 after 0"});
  expect_refused({5, 0}, {}, 2, 10, {"index 5 after 5"});
}

TEST(IndexCodecTest, AGapWithoutItsLastByteIsRefused) {
  expect_refused({1, 255}, {}, 1, kLimit, {"inside a gap"});
  expect_refused({1, 1, 255}, {}, 2, kLimit, {"inside a gap"});
}

TEST(IndexCodecTest, RestartsThatDisagreeAreRefused) {
  const EncodedIndices encoded = encode_indices(random_indices(3 * kIndexBlock, 1000));
  const std::int64_t count = 3 * kIndexBlock;
  const auto refuse = [&](Restarts restarts, std::initializer_list<std::string_view> words) {
    expect_refused(encoded.gaps, restarts, count, kLimit, words);
  };
  refuse({}, {"0 restart numbers", "expected 4"});
  for (std::size_t i = 0; i < 4; ++i) {
    for (const std::int64_t wrong : {std::int64_t{-1}, std::int64_t{0}, encoded.restarts[i] - 1,
                                     encoded.restarts[i] + 1, INT64_MAX, INT64_MIN}) {
      Restarts restarts = encoded.restarts;
      restarts[i] = wrong;
      refuse(restarts, {"index codec: "});
    }
  }
}

}  // namespace
}  // namespace shira
