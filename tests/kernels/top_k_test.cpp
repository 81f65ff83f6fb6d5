// Selection against the plain definition: sort all scores, cut the band out.
#include <shira/base/error.h>
#include <shira/kernels/top_k.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

namespace shira {
namespace {

using Indices = std::vector<std::int32_t>;
using Scores = std::vector<float>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

Indices band_of_a_stable_sort(const Scores& scores, std::int64_t skip, std::int64_t count) {
  Indices order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int32_t a, std::int32_t b) { return scores[a] > scores[b]; });
  Indices band(order.begin() + skip, order.begin() + skip + count);
  std::sort(band.begin(), band.end());
  return band;
}

/// Compares with the sort for many bands.
void expect_as_sorted(const Scores& scores) {
  const auto size = static_cast<std::int64_t>(scores.size());
  for (std::int64_t skip = 0; skip <= size; skip += 1 + size / 7) {
    for (std::int64_t count = 0; count <= size - skip; count += 1 + size / 9) {
      EXPECT_EQ(top_k_band(scores, skip, count), band_of_a_stable_sort(scores, skip, count))
          << size << " scores, ranks from " << skip << ", " << count;
    }
    EXPECT_EQ(top_k_band(scores, skip, size - skip),
              band_of_a_stable_sort(scores, skip, size - skip));
  }
}

TEST(TopKTest, BandsOfASmallExample) {
  const Scores scores{0.5f, 3.0f, 1.0f, 3.0f, 2.0f};  // ranks: 1, 3, 4, 2, 0
  EXPECT_EQ(top_k_band(scores, 0, 1), Indices{1});
  EXPECT_EQ(top_k_band(scores, 0, 3), (Indices{1, 3, 4}));
  EXPECT_EQ(top_k_band(scores, 1, 2), (Indices{3, 4}));
  EXPECT_EQ(top_k_band(scores, 3, 2), (Indices{0, 2}));
}

TEST(TopKTest, EqualScoresGoByIndex) {
  const Scores scores(100, 0.25f);
  EXPECT_EQ(top_k_band(scores, 0, 3), (Indices{0, 1, 2}));
  EXPECT_EQ(top_k_band(scores, 10, 2), (Indices{10, 11}));
  EXPECT_EQ(top_k_band(scores, 97, 3), (Indices{97, 98, 99}));
  expect_as_sorted(scores);
}

TEST(TopKTest, AgreesWithASortOnRandomScores) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (const std::size_t size : {1, 2, 1000, 20'000}) {
    Scores scores(size);
    for (float& score : scores) score = std::abs(normal(random));
    expect_as_sorted(scores);
  }
}

TEST(TopKTest, AgreesWithASortOnManyTies) {
  std::mt19937 random(2);
  Scores scores(5000);
  for (float& score : scores) score = static_cast<float>(random() % 7) * 0.125f;
  expect_as_sorted(scores);
}

TEST(TopKTest, AgreesWithASortWhereOnlyLowBitsDiffer) {
  Scores scores(3000, 1.0f);
  for (std::size_t i = 1; i < scores.size(); ++i) {
    scores[i] = std::nextafter(scores[i - 1], i % 3 == 0 ? 0.0f : 2.0f);
  }
  expect_as_sorted(scores);
}

TEST(TopKTest, AgreesWithASortOnExtremes) {
  const Scores few{0.0f, -0.0f, kDenormal, 2 * kDenormal, 1e-39f, kInfinity, 3.4e38f, 1.0f};
  Scores scores;
  for (int repeat = 0; repeat < 20; ++repeat) scores.insert(scores.end(), few.begin(), few.end());
  expect_as_sorted(scores);
  expect_as_sorted(Scores(10, 0.0f));
  expect_as_sorted(Scores(10, kInfinity));
}

TEST(TopKTest, BandsPartitionTheEntries) {
  std::mt19937 random(3);
  Scores scores(1000);
  for (float& score : scores) score = static_cast<float>(random() % 50);
  Indices all;
  for (std::int64_t skip = 0; skip < 1000; skip += 100) {
    const Indices band = top_k_band(scores, skip, 100);
    all.insert(all.end(), band.begin(), band.end());
  }
  std::sort(all.begin(), all.end());
  Indices expected(1000);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(all, expected);
}

TEST(TopKTest, EmptyBandsAndEmptyScores) {
  EXPECT_TRUE(top_k_band({}, 0, 0).empty());
  EXPECT_TRUE(top_k_band(Scores{1, 2}, 2, 0).empty());
  EXPECT_TRUE(top_k_band(Scores{1, 2}, 0, 0).empty());
}

TEST(TopKTest, RanksBeyondTheEndAreErrors) {
  const Scores scores{1, 2};
  EXPECT_THROW(top_k_band(scores, 0, 3), ShapeError);
  EXPECT_THROW(top_k_band(scores, 3, 0), ShapeError);
  EXPECT_THROW(top_k_band(scores, 1, 2), ShapeError);
  EXPECT_THROW(top_k_band(scores, -1, 1), ShapeError);
  EXPECT_THROW(top_k_band(scores, 0, -1), ShapeError);
  EXPECT_THROW(top_k_band(scores, 1, INT64_MAX), ShapeError);
}

TEST(TopKTest, NaNAndNegativeScoresAreErrorsThatNameTheEntry) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float bad : {nan, -nan, -1.0f, -kDenormal, -kInfinity}) {
    try {
      top_k_band(Scores{1, 2, bad}, 0, 1);
      ADD_FAILURE() << bad << " was taken";
    } catch (const ShapeError& error) {
      EXPECT_NE(std::string(error.what()).find("at index 2"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace shira
