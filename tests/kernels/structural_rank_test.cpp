// Matchings against all there are, and patterns whose rank is plain.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/kernels/structural_rank.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

namespace shira {
namespace {

using Indices = std::vector<std::int32_t>;

/// The largest matching of the rows from `row` on with the columns not in `taken`, by trying all.
std::int64_t best_of_all(std::int64_t rows, std::int64_t columns, const Indices& indices,
                         std::int64_t row, unsigned taken) {
  if (row == rows) return 0;
  std::int64_t best = best_of_all(rows, columns, indices, row + 1, taken);
  for (const std::int32_t index : indices) {
    const unsigned column = 1U << (index % columns);
    if (index / columns != row || (taken & column) != 0) continue;
    best = std::max(best, 1 + best_of_all(rows, columns, indices, row + 1, taken | column));
  }
  return best;
}

TEST(StructuralRank, IsTheLargestMatchingOfSmallRandomPatterns) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    const std::int64_t rows = 1 + random() % 6;
    const std::int64_t columns = 1 + random() % 6;
    Indices indices;
    for (std::int32_t index = 0; index < rows * columns; ++index) {
      if (random() % 3 == 0) indices.push_back(index);
    }
    EXPECT_EQ(structural_rank(rows, columns, indices), best_of_all(rows, columns, indices, 0, 0))
        << rows << " x " << columns << ", round " << round;
  }
}

TEST(StructuralRank, OfPlainPatterns) {
  EXPECT_EQ(structural_rank(3, 4, {}), 0);
  EXPECT_EQ(structural_rank(3, 4, Indices{4, 5, 6, 7}), 1);        // a row
  EXPECT_EQ(structural_rank(3, 4, Indices{1, 5, 9}), 1);           // a column
  EXPECT_EQ(structural_rank(3, 4, Indices{0, 5, 10}), 3);          // the diagonal
  EXPECT_EQ(structural_rank(3, 4, Indices{0, 1, 2, 3, 4, 8}), 2);  // a row and a column
  EXPECT_EQ(structural_rank(4, 4, Indices{0, 1, 4, 5, 8, 9}), 2);  // three rows, two columns
}

TEST(StructuralRank, OfAPermutationIsFullAlsoWhereAGreedyStartGoesWrong) {
  constexpr std::int32_t kSize = 1000;
  Indices order(kSize);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(2));
  Indices permutation;
  Indices shifted;  // a row begins with the column that the next one needs
  for (std::int32_t row = 0; row < kSize; ++row) {
    permutation.push_back(row * kSize + order[std::size_t(row)]);
    if (row > 0) shifted.push_back(row * kSize + row - 1);
    if (row < kSize - 1) shifted.push_back(row * kSize + row);
  }
  EXPECT_EQ(structural_rank(kSize, kSize, permutation), kSize);
  EXPECT_EQ(structural_rank(kSize, kSize, shifted), kSize - 1);  // the last column is empty
}

TEST(StructuralRank, OfARandomPatternOfOnePercentIsFull) {
  std::mt19937 random(3);
  Indices indices;
  for (std::uint32_t index = 0; index < 4096 * 4096; index += 1 + random() % 199) {
    indices.push_back(static_cast<std::int32_t>(index));
  }
  EXPECT_EQ(structural_rank(4096, 4096, indices), 4096);
}

TEST(StructuralRank, RefusesWhatIsNoSortedPattern) {
  expect_error<ShapeError>([] { structural_rank(2, 2, Indices{1, 1}); }, {"1 after 1"});
  expect_error<ShapeError>([] { structural_rank(2, 2, Indices{2, 1}); }, {"1 after 2"});
  expect_error<ShapeError>([] { structural_rank(2, 2, Indices{-1}); }, {"-1"});
  expect_error<ShapeError>([] { structural_rank(2, 2, Indices{4}); }, {"4 after -1", "2 x 2"});
  expect_error<ShapeError>([] { structural_rank(0, 2, {}); }, {"0 x 2"});
}

}  // namespace
}  // namespace shira
