// Bits are compared, whatever they mean; the answer does not depend on chunks.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/kernels/differences.h>

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <random>

namespace shira {
namespace {

using Positions = std::vector<std::int32_t>;

std::optional<Positions> differences(const std::vector<float>& a, const std::vector<float>& b,
                                     std::int64_t most) {
  return find_differences(a.data(), b.data(), std::ssize(a), sizeof(float), most);
}

TEST(Differences, NaNOfTheSameBitsIsEqualAndMinusZeroIsNotZero) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto other_nan = std::bit_cast<float>(std::bit_cast<std::uint32_t>(nan) ^ 1U);
  EXPECT_EQ(differences({nan, nan, 0.0F, 1.0F}, {nan, other_nan, -0.0F, 1.0F}, 4),
            (Positions{1, 2}));
}

TEST(Differences, MoreThanAllowedAreNothing) {
  EXPECT_EQ(differences({1, 2, 3}, {0, 2, 0}, 2), (Positions{0, 2}));
  EXPECT_EQ(differences({1, 2, 3}, {0, 2, 0}, 1), std::nullopt);
  EXPECT_EQ(differences({1, 2, 3}, {1, 2, 3}, 0), Positions{});
  EXPECT_EQ(differences({}, {}, 0), Positions{});
}

/// Every item size, misaligned, over several chunks: as one item after the other says it.
TEST(Differences, AgreeWithComparingOneByOne) {
  constexpr std::int64_t kItems = 200'000;
  std::mt19937 random(1);
  for (const std::size_t size : {1, 2, 4, 8}) {
    const std::size_t bytes = kItems * size;
    std::vector<std::uint8_t> a(bytes + 1), b;
    for (std::uint8_t& byte : a) byte = static_cast<std::uint8_t>(random());
    b = a;
    std::vector<bool> changed(kItems);
    // The last byte of an item, the chunks' first and last items, and a run.
    for (std::size_t item : {0, 65'535, 65'536, 131'071, 131'072, 131'073, 131'074, 199'999}) {
      b[1 + (item + 1) * size - 1] ^= 0x80;
      changed[item] = true;
    }
    for (int i = 0; i < 1000; ++i) {
      const std::size_t item = random() % kItems;
      if (changed[item]) continue;
      b[1 + item * size + random() % size] ^= 1;
      changed[item] = true;
    }
    Positions expected;
    for (std::size_t item = 0; item < kItems; ++item) {
      if (changed[item]) expected.push_back(static_cast<std::int32_t>(item));
    }
    EXPECT_EQ(find_differences(a.data() + 1, b.data() + 1, kItems, size, kItems), expected);
    EXPECT_EQ(find_differences(a.data() + 1, b.data() + 1, kItems, size, std::ssize(expected) - 1),
              std::nullopt);
    EXPECT_FALSE(are_equal_bytes(a.data() + 1, b.data() + 1, bytes));
    EXPECT_TRUE(are_equal_bytes(a.data(), a.data(), bytes));
  }
}

TEST(Differences, TheLastByteOfManyCounts) {
  std::vector<std::uint8_t> a(3'000'001), b = a;
  EXPECT_TRUE(are_equal_bytes(a.data(), b.data(), a.size()));
  b.back() = 1;
  EXPECT_FALSE(are_equal_bytes(a.data(), b.data(), a.size()));
  EXPECT_TRUE(are_equal_bytes(a.data(), b.data(), a.size() - 1));
}

TEST(Differences, WhatInt32PositionsCannotSayIsRefused) {
  const std::uint8_t byte = 0;
  expect_error<ShapeError>([&] { find_differences(&byte, &byte, std::int64_t{1} << 31, 1, 0); },
                           {"2147483648", "2^31"});
  expect_error<ShapeError>([&] { find_differences(&byte, &byte, 0, 3, 0); }, {"3 bytes"});
}

}  // namespace
}  // namespace shira
