// Items of every size, by index.
#include <shira/base/error.h>
#include <shira/kernels/scatter.h>

#include <gtest/gtest.h>

#include <numeric>
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

TEST(ScatterItemSizeTest, NoIndicesTouchNothing) {
  gather(nullptr, {}, 4, nullptr);
  scatter(nullptr, {}, 4, nullptr);
}

TEST(ScatterItemSizeTest, OtherItemSizesAreErrors) {
  std::vector<std::uint8_t> base(16), values(16);
  for (const std::size_t size : {0, 3, 16}) {
    EXPECT_THROW(gather(base.data(), Indices{0}, size, values.data()), ShapeError);
    EXPECT_THROW(scatter(base.data(), Indices{0}, size, values.data()), ShapeError);
  }
}

}  // namespace
}  // namespace shira
