// Selection against the plain definition: sort all values by magnitude, cut the band out.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/kernels/top_k.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

namespace shira {
namespace {

using Indices = std::vector<std::int32_t>;
using Floats = std::vector<float>;
using Halves = std::vector<std::uint16_t>;  // bits of BF16 or F16 values

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

Indices top_k_band(const Floats& values, std::int64_t skip, std::int64_t count) {
  return shira::top_k_band(values.data(), DType::kF32, static_cast<std::int64_t>(values.size()),
                           skip, count);
}

Indices band_of_a_stable_sort(const Floats& values, std::int64_t skip, std::int64_t count) {
  Indices order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return std::abs(values[std::size_t(a)]) > std::abs(values[std::size_t(b)]);
  });
  Indices band(order.begin() + skip, order.begin() + skip + count);
  std::sort(band.begin(), band.end());
  return band;
}

/// Compares with the sort for many bands.
void expect_as_sorted(const Floats& values) {
  const auto size = static_cast<std::int64_t>(values.size());
  for (std::int64_t skip = 0; skip <= size; skip += 1 + size / 7) {
    for (std::int64_t count = 0; count <= size - skip; count += 1 + size / 9) {
      EXPECT_EQ(top_k_band(values, skip, count), band_of_a_stable_sort(values, skip, count))
          << size << " values, ranks from " << skip << ", " << count;
    }
    EXPECT_EQ(top_k_band(values, skip, size - skip),
              band_of_a_stable_sort(values, skip, size - skip));
  }
}

Floats normal_values(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Floats values(size);
  for (float& value : values) value = normal(random);
  return values;
}

TEST(TopKTest, BandsOfASmallExample) {
  const Floats values{0.5f, -3.0f, 1.0f, 3.0f, -2.0f};  // ranks: 1, 3, 4, 2, 0
  EXPECT_EQ(top_k_band(values, 0, 1), Indices{1});
  EXPECT_EQ(top_k_band(values, 0, 3), (Indices{1, 3, 4}));
  EXPECT_EQ(top_k_band(values, 1, 2), (Indices{3, 4}));
  EXPECT_EQ(top_k_band(values, 3, 2), (Indices{0, 2}));
}

TEST(TopKTest, EqualMagnitudesGoByIndex) {
  Floats values(100, 0.25f);
  for (std::size_t i = 0; i < values.size(); i += 3) values[i] = -0.25f;
  EXPECT_EQ(top_k_band(values, 0, 3), (Indices{0, 1, 2}));
  EXPECT_EQ(top_k_band(values, 10, 2), (Indices{10, 11}));
  EXPECT_EQ(top_k_band(values, 97, 3), (Indices{97, 98, 99}));
  expect_as_sorted(values);
}

TEST(TopKTest, AgreesWithASortOnRandomValues) {
  for (const std::size_t size : {1, 2, 15, 16, 17, 257, 258, 1000, 20'001}) {
    expect_as_sorted(normal_values(size, 1));
  }
}

TEST(TopKTest, AgreesWithASortOverSeveralChunks) {
  const Floats values = normal_values((std::size_t{1} << 18) + 7, 4);
  for (const std::int64_t skip : {0, 150'000}) {
    for (const std::int64_t count : {5000, 100'000}) {
      EXPECT_EQ(top_k_band(values, skip, count), band_of_a_stable_sort(values, skip, count));
    }
  }
}

TEST(TopKTest, AgreesWithASortOnManyTies) {
  std::mt19937 random(2);
  Floats values(5000);
  for (float& value : values) value = static_cast<float>(random() % 7) * 0.125f;
  expect_as_sorted(values);
}

TEST(TopKTest, AgreesWithASortWhereOnlyLowBitsDiffer) {
  Floats values(3000, 1.0f);
  for (std::size_t i = 1; i < values.size(); ++i) {
    values[i] = std::nextafter(values[i - 1], i % 3 == 0 ? 0.0f : 2.0f);
  }
  expect_as_sorted(values);
}

TEST(TopKTest, AgreesWithASortOnExtremes) {
  const Floats few{0.0f,      -0.0f, kDenormal,  -2 * kDenormal, 1e-39f,
                   kInfinity, 1.0f,  -kInfinity, 3.4e38f};
  Floats values;
  for (int repeat = 0; repeat < 20; ++repeat) values.insert(values.end(), few.begin(), few.end());
  expect_as_sorted(values);
  expect_as_sorted(Floats(10, 0.0f));
  expect_as_sorted(Floats(1000, -kInfinity));
}

TEST(TopKTest, AgreesWithASortWhereASampleMisleads) {
  for (const float outlier : {100.0f, 0.0f}) {  // sampled values all above or all below the others
    Floats values = normal_values(100'000, 5);
    for (std::size_t i = 0; i < values.size(); i += 257) values[i] = outlier;
    for (const std::int64_t skip : {0, 1000, 50'000}) {
      EXPECT_EQ(top_k_band(values, skip, 1000), band_of_a_stable_sort(values, skip, 1000));
    }
  }
}

TEST(TopKTest, SixteenBitFloatsRankAsTheFloatsTheyStandFor) {
  Halves bfloats(10'000);
  Floats wide(bfloats.size());
  const Floats values = normal_values(bfloats.size(), 6);
  for (std::size_t i = 0; i < bfloats.size(); ++i) {
    const std::uint32_t upper = std::bit_cast<std::uint32_t>(values[i]) >> 16;
    bfloats[i] = static_cast<std::uint16_t>(upper);
    wide[i] = std::bit_cast<float>(upper << 16);
  }
  for (const std::int64_t skip : {0, 1, 100, 5000}) {
    EXPECT_EQ(shira::top_k_band(bfloats.data(), DType::kBF16, 10'000, skip, 100),
              band_of_a_stable_sort(wide, skip, 100));
  }
  // F16: 1, -2, the smallest number, 65504, -infinity
  const Halves halves{0x3c00, 0xc000, 0x0001, 0x7bff, 0xfc00};
  EXPECT_EQ(shira::top_k_band(halves.data(), DType::kF16, 5, 0, 2), (Indices{3, 4}));
  EXPECT_EQ(shira::top_k_band(halves.data(), DType::kF16, 5, 2, 2), (Indices{0, 1}));
}

TEST(TopKTest, BandsPartitionTheEntries) {
  std::mt19937 random(3);
  Floats values(1000);
  for (float& value : values) value = static_cast<float>(random() % 50);
  Indices all;
  for (std::int64_t skip = 0; skip < 1000; skip += 100) {
    const Indices band = top_k_band(values, skip, 100);
    all.insert(all.end(), band.begin(), band.end());
  }
  std::sort(all.begin(), all.end());
  Indices expected(1000);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(all, expected);
}

TEST(TopKTest, EmptyBandsAndNoValues) {
  EXPECT_TRUE(top_k_band({}, 0, 0).empty());
  EXPECT_TRUE(top_k_band(Floats{1, 2}, 2, 0).empty());
  EXPECT_TRUE(top_k_band(Floats{1, 2}, 0, 0).empty());
}

TEST(TopKTest, RanksBeyondTheEndAreErrors) {
  const Floats values{1, 2};
  EXPECT_THROW(top_k_band(values, 0, 3), ShapeError);
  EXPECT_THROW(top_k_band(values, 3, 0), ShapeError);
  EXPECT_THROW(top_k_band(values, 1, 2), ShapeError);
  EXPECT_THROW(top_k_band(values, -1, 1), ShapeError);
  EXPECT_THROW(top_k_band(values, 0, -1), ShapeError);
  EXPECT_THROW(top_k_band(values, 1, INT64_MAX), ShapeError);
}

TEST(TopKTest, NaNIsAnErrorThatNamesTheFirstOne) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float bad : {nan, -nan, std::bit_cast<float>(0x7f800001)}) {
    expect_error<ShapeError>([&] { top_k_band({1, 2, bad, bad}, 0, 1); }, {"NaN at index 2,"});
    Floats values = normal_values(600'000, 7);
    values[555'555] = values[599'999] = bad;
    for (const std::int64_t skip : {0, 500'000}) {
      expect_error<ShapeError>([&] { top_k_band(values, skip, 10); }, {"index 555555,"});
    }
  }
  const Halves halves{0x3c00, 0xfe00,
                      0x7f81};  // NaN: the second and third in F16, the third in BF16
  expect_error<ShapeError>([&] { shira::top_k_band(halves.data(), DType::kF16, 3, 0, 1); },
                           {"index 1,"});
  expect_error<ShapeError>([&] { shira::top_k_band(halves.data(), DType::kBF16, 3, 0, 1); },
                           {"index 2,"});
}

TEST(TopKTest, RefusesOtherDtypes) {
  const double value = 1;
  expect_error<ShapeError>([&] { shira::top_k_band(&value, DType::kF64, 1, 0, 1); }, {"F64"});
}

}  // namespace
}  // namespace shira
