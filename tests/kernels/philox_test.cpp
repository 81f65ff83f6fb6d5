// Known answers, uniformity, and numbers that must never change.
#include <shira/base/error.h>
#include <shira/kernels/philox.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

namespace shira {
namespace {

using Block = std::array<std::uint32_t, 4>;

TEST(PhiloxTest, KnownAnswersOfRandom123) {  // its tests/kat_vectors, lines "philox4x32 10"
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PhiloxStreamTest, KeyIsTheSeedAndTheCountersUpperHalfTheNamesHash) {
  // FNV-1a 64 of "foobar" is 85944171f73967e8 (draft-eastlake-fnv, appendix C).
  PhiloxStream stream(0x1122334455667788, "foobar");
  for (std::uint32_t number = 0; number < 3; ++number) {
    const Block block = philox4x32({number, 0, 0xf73967e8, 0x85944171}, {0x55667788, 0x11223344});
    for (const std::uint32_t expected : block) EXPECT_EQ(stream.next_u32(), expected);
  }
}

TEST(PhiloxStreamTest, SeedAndNameBothMatter) {
  std::set<std::uint64_t> firsts;
  for (const std::uint64_t seed : {0, 1, 2}) {
    for (const char* name : {"", "a", "b", "model.layers.0", "model.layers.1"}) {
      firsts.insert(PhiloxStream(seed, name).next_u64());
    }
  }
  EXPECT_EQ(firsts.size(), 15u);
}

TEST(PhiloxStreamTest, WiderNumbersAreMadeOfTheNextOnes) {
  PhiloxStream words(1, "x"), wide(1, "x"), real(1, "x");
  const std::uint64_t low = words.next_u32(), high = words.next_u32();
  const std::uint64_t number = high << 32 | low;
  EXPECT_EQ(wide.next_u64(), number);
  EXPECT_EQ(real.next_double(), std::ldexp(static_cast<double>(number >> 11), -53));
}

TEST(PhiloxStreamTest, SeekContinuesWhereThePositionWasTaken) {
  PhiloxStream stream(7, "resume");
  for (int drawn = 0; drawn < 10; ++drawn) {
    PhiloxStream resumed(7, "resume");
    resumed.seek(stream.position());
    EXPECT_EQ(resumed.position(), stream.position());
    PhiloxStream original = stream;
    for (int i = 0; i < 6; ++i) EXPECT_EQ(resumed.next_u32(), original.next_u32());
    stream.next_u32();
  }
}

TEST(PhiloxStreamTest, BoundedIsUniform) {
  PhiloxStream stream(3, "dice");
  std::map<std::uint64_t, int> counts;
  for (int i = 0; i < 60'000; ++i) ++counts[stream.bounded(6)];
  ASSERT_EQ(counts.size(), 6u);
  EXPECT_EQ(counts.rbegin()->first, 5u);
  // Standard deviation of a count: sqrt(60000 * 1/6 * 5/6) = 91; allow 4 of them.
  for (const auto& [side, count] : counts) EXPECT_NEAR(count, 10'000, 364) << side;
}

TEST(PhiloxStreamTest, BoundedRedrawsWhatWouldBias) {
  // For n = 2^63 + 1 the first 2^63 - 1 of the 2^64 numbers are rejected: about every second draw.
  PhiloxStream stream(3, "reject");
  for (int i = 0; i < 100; ++i) EXPECT_LT(stream.bounded((1ull << 63) + 1), (1ull << 63) + 1);
  EXPECT_NEAR(static_cast<double>(stream.position()) / 2, 200, 60);
}

TEST(PhiloxStreamTest, BoundsOfOneAndZero) {
  PhiloxStream stream(3, "edge");
  EXPECT_EQ(stream.bounded(1), 0u);
  EXPECT_THROW(stream.bounded(0), ShapeError);
}

TEST(SampleTest, IsExactSortedUniqueAndInRange) {
  for (const std::int64_t population : {1, 63, 64, 65, 1000}) {
    for (const std::int64_t count :
         {std::int64_t{0}, std::int64_t{1}, population / 2, population}) {
      PhiloxStream stream(5, "sample");
      const auto sample = sample_without_replacement(stream, population, count);
      ASSERT_EQ(sample.size(), static_cast<std::size_t>(count));
      EXPECT_TRUE(std::is_sorted(sample.begin(), sample.end()));
      EXPECT_EQ(std::adjacent_find(sample.begin(), sample.end()), sample.end());
      EXPECT_TRUE(sample.empty() || (sample.front() >= 0 && sample.back() < population));
    }
  }
}

TEST(SampleTest, EverySetIsEquallyLikely) {
  PhiloxStream stream(5, "sets");
  std::map<std::vector<std::int32_t>, int> counts;
  for (int i = 0; i < 20'000; ++i) ++counts[sample_without_replacement(stream, 6, 3)];
  ASSERT_EQ(counts.size(), 20u);  // 6 choose 3
  // Standard deviation of a count: sqrt(20000 * 0.05 * 0.95) = 31; allow 4 of them.
  for (const auto& [set, count] : counts) EXPECT_NEAR(count, 1000, 124);
}

TEST(SampleTest, ImpossibleCountsAreErrors) {
  PhiloxStream stream(5, "errors");
  EXPECT_THROW(sample_without_replacement(stream, 3, 4), ShapeError);
  EXPECT_THROW(sample_without_replacement(stream, 3, -1), ShapeError);
  EXPECT_THROW(sample_without_replacement(stream, (1ll << 31) + 1, 1), ShapeError);
}

TEST(PermutationTest, EveryOrderIsEquallyLikely) {
  PhiloxStream stream(5, "orders");
  std::map<std::vector<std::int64_t>, int> counts;
  for (int i = 0; i < 24'000; ++i) ++counts[random_permutation(stream, 4)];
  ASSERT_EQ(counts.size(), 24u);
  // Standard deviation of a count: sqrt(24000 / 24 * 23/24) = 31; allow 4 of them.
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 124);
}

TEST(PermutationTest, SmallAndNegativeSizes) {
  PhiloxStream stream(5, "sizes");
  EXPECT_TRUE(random_permutation(stream, 0).empty());
  EXPECT_EQ(random_permutation(stream, 1), std::vector<std::int64_t>{0});
  EXPECT_THROW(random_permutation(stream, -1), ShapeError);
}

// Masks and data orders of published runs depend on these: they never change. A few lines of Python
// that follow philox.h gave the same numbers.
TEST(PhiloxStreamTest, PinnedNumbers) {
  PhiloxStream stream(42, "model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(stream.next_u32(), 808327051u);
  EXPECT_EQ(stream.next_u64(), 11302544171034682383u);
  EXPECT_EQ(stream.next_double(), 0.8759282555773419);
  EXPECT_EQ(stream.bounded(1'000'000), 841298u);
  EXPECT_EQ(sample_without_replacement(stream, 1000, 8),
            (std::vector<std::int32_t>{61, 91, 192, 250, 545, 626, 912, 928}));
  EXPECT_EQ(random_permutation(stream, 8), (std::vector<std::int64_t>{3, 7, 5, 0, 1, 2, 6, 4}));
}

}  // namespace
}  // namespace shira
