// Items of every size, by index.
#include <shira/base/error.h>
#include <shira/kernels/scatter.h>

#include <gtest/gtest.h>

#include <random>
#include <utility>
#include <vector>

namespace shira {
namespace {

using Indices = std::vector<std::int32_t>;

template <typename T>
class ScatterTest : public testing::Test {};

using ItemTypes = testing::Types<std::uint8_t, std::uint16_t, float, double>;
TYPED_TEST_SUITE(ScatterTest, ItemTypes);

TYPED_TEST(ScatterTest, GatherReadsTheIndexedItems) {
  const std::vector<TypeParam> base{10, 11, 12, 13, 14};
  std::vector<TypeParam> out(3);
  gather(base.data(), Indices{0, 2, 4}, sizeof(TypeParam), out.data());
  EXPECT_EQ(out, (std::vector<TypeParam>{10, 12, 14}));
}

TYPED_TEST(ScatterTest, ScatterWritesTheIndexedItemsAndNoOthers) {
  std::vector<TypeParam> base{10, 11, 12, 13, 14};
  const std::vector<TypeParam> values{1, 2};
  scatter(base.data(), Indices{1, 4}, sizeof(TypeParam), values.data());
  EXPECT_EQ(base, (std::vector<TypeParam>{10, 1, 12, 13, 2}));
}

TYPED_TEST(ScatterTest, PointersNeedNoAlignment) {
  std::vector<std::uint8_t> base(1 + 3 * sizeof(TypeParam), 0xee);
  std::vector<std::uint8_t> values(1 + sizeof(TypeParam), 0x11);
  scatter(base.data() + 1, Indices{1}, sizeof(TypeParam), values.data() + 1);
  std::vector<std::uint8_t> expected(base.size(), 0xee);
  std::fill_n(expected.begin() + 1 + sizeof(TypeParam), sizeof(TypeParam), 0x11);
  EXPECT_EQ(base, expected);
  std::vector<std::uint8_t> out(1 + sizeof(TypeParam));
  gather(base.data() + 1, Indices{1}, sizeof(TypeParam), out.data() + 1);
  EXPECT_TRUE(std::equal(out.begin() + 1, out.end(), values.begin() + 1));
}

TYPED_TEST(ScatterTest, SwapExchangesInPlaceOrNot) {
  std::vector<TypeParam> base{10, 11, 12, 13, 14}, values{1, 2}, old(2);
  swap(base.data(), Indices{1, 4}, sizeof(TypeParam), values.data(), old.data());
  EXPECT_EQ(base, (std::vector<TypeParam>{10, 1, 12, 13, 2}));
  EXPECT_EQ(old, (std::vector<TypeParam>{11, 14}));
  swap(base.data(), Indices{1, 4}, sizeof(TypeParam), old.data(), old.data());
  EXPECT_EQ(base, (std::vector<TypeParam>{10, 11, 12, 13, 14}));
  EXPECT_EQ(old, values);
}

/// `count` indices with gaps of 1 to `largest_gap`: enough of them for several threads' parts.
Indices spread_indices(std::size_t count, unsigned largest_gap) {
  std::mt19937 random(largest_gap);
  Indices indices(count);
  std::int32_t next = 0;
  for (auto& index : indices) index = next += 1 + static_cast<int>(random() % largest_gap);
  return indices;
}

TYPED_TEST(ScatterTest, ManyElementsAreAllWrittenAndNoOthers) {
  const Indices indices = spread_indices(50'000, 7);
  std::vector<TypeParam> base(400'000, 1), expected = base;
  std::vector<TypeParam> values(indices.size()), out(indices.size());
  for (std::size_t k = 0; k < indices.size(); ++k) {
    values[k] = static_cast<TypeParam>(k % 251);
    expected[static_cast<std::size_t>(indices[k])] = values[k];
  }
  scatter(base.data(), indices, sizeof(TypeParam), values.data());
  EXPECT_EQ(base, expected);
  gather(base.data(), indices, sizeof(TypeParam), out.data());
  EXPECT_EQ(out, values);
}

TYPED_TEST(ScatterTest, OfBothTheSecondWinsWhereTheyMeet) {
  for (const auto& [first_count, second_count] :
       {std::pair<std::size_t, std::size_t>{30'000, 50'000},
        {50'000, 100},
        {1, 50'000},
        {0, 9},
        {9, 0}}) {
    const Indices first = spread_indices(first_count, 6), second = spread_indices(second_count, 5);
    const std::vector<TypeParam> ones(first.size(), 1), twos(second.size(), 2);
    std::vector<TypeParam> base(400'000, 0), expected = base;
    for (const std::int32_t index : first) expected[static_cast<std::size_t>(index)] = 1;
    for (const std::int32_t index : second) expected[static_cast<std::size_t>(index)] = 2;
    scatter_both(base.data(), sizeof(TypeParam), {first, ones.data()}, {second, twos.data()});
    EXPECT_EQ(base, expected);
  }
}

TEST(ScatterItemSizeTest, NoIndicesTouchNothing) {
  gather(nullptr, {}, 4, nullptr);
  scatter(nullptr, {}, 4, nullptr);
  swap(nullptr, {}, 4, nullptr, nullptr);
  scatter_both(nullptr, 4, {}, {});
}

TEST(ScatterItemSizeTest, OtherItemSizesAreErrors) {
  std::vector<std::uint8_t> base(16), values(16);
  for (const std::size_t size : {0, 3, 16}) {
    EXPECT_THROW(gather(base.data(), Indices{0}, size, values.data()), ShapeError);
    EXPECT_THROW(scatter(base.data(), Indices{0}, size, values.data()), ShapeError);
    EXPECT_THROW(swap(base.data(), Indices{0}, size, values.data(), values.data()), ShapeError);
  }
}

}  // namespace
}  // namespace shira
