#include "expect_error.h"

#include <shira/base/error.h>
#include <shira/io/mask_picture.h>

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <vector>

namespace shira {
namespace {

constexpr Rgb kWhite{255, 255, 255};
constexpr Rgb kDarkest{16, 32, 80};
using Indices = std::vector<std::int32_t>;

// (2, 4): 256 / 4 = 64 pixels for each entry. Index 6 is row 1, column 2.
TEST(MaskPictureTest, SmallMatricesAreEnlargedByAWholeFactor) {
  const Picture picture = draw_mask(2, 4, Indices{6});
  EXPECT_EQ(picture.width, 1 + 4 * 64 + 1);
  EXPECT_EQ(picture.height, 1 + 2 * 64 + 1);
  int dark = 0;
  for (int y = 1; y < 129; ++y) {
    for (int x = 1; x < 257; ++x) {
      const bool trained = 65 <= y && 129 <= x && x < 193;
      EXPECT_EQ(picture.at(x, y), trained ? kDarkest : kWhite) << x << ", " << y;
      dark += trained ? 1 : 0;
    }
  }
  EXPECT_EQ(dark, 64 * 64);
}

TEST(MaskPictureTest, AFrameOfOnePixelGoesAround) {
  const Picture picture = draw_mask(300, 700, Indices{0});
  ASSERT_EQ(picture.width, 702);
  ASSERT_EQ(picture.height, 302);
  const Rgb frame = picture.at(0, 0);
  EXPECT_NE(frame, kWhite);
  for (int x = 0; x < 702; ++x) {
    EXPECT_EQ(picture.at(x, 0), frame);
    EXPECT_EQ(picture.at(x, 301), frame);
  }
  EXPECT_EQ(picture.at(701, 150), frame);
  EXPECT_EQ(picture.at(1, 1), kDarkest);
  EXPECT_EQ(picture.at(700, 150), kWhite);
}

// (2048, 4096) in blocks of 4 x 4. Darkness: 0.2 + 0.8 sqrt(share / largest share).
TEST(MaskPictureTest, LargeMatricesShowTheShareOfEachBlock) {
  Indices indices;
  for (int row = 0; row < 4; ++row) {
    for (int column = 4; column < 8; ++column) indices.push_back(row * 4096 + column);
  }
  indices.insert(indices.end(), {3 * 4096, 3 * 4096 + 8, 3 * 4096 + 9, 3 * 4096 + 10, 8191});
  const Picture picture = draw_mask(2048, 4096, indices);
  EXPECT_EQ(picture.width, 1026);
  EXPECT_EQ(picture.height, 514);
  EXPECT_EQ(picture.at(2, 1), kDarkest);                 // 16 of 16
  EXPECT_EQ(picture.at(1, 1), (Rgb{159, 166, 185}));     // 1: 0.4 of the way
  EXPECT_EQ(picture.at(1024, 1), (Rgb{159, 166, 185}));  // index 8191: row 1, column 4095
  EXPECT_EQ(picture.at(3, 1), (Rgb{124, 133, 159}));     // 3: 0.2 + 0.8 sqrt(3 / 16) = 0.5464
  EXPECT_EQ(picture.at(4, 1), kWhite);
}

// (1025, 3) in blocks of 2 x 2: the last one has a single entry, which is all of it.
TEST(MaskPictureTest, SharesAreThoseOfTheSmallerBlocksAtTheEdge) {
  const Picture picture = draw_mask(1025, 3, Indices{0, 1025 * 3 - 1});
  EXPECT_EQ(picture.width, 4);
  EXPECT_EQ(picture.height, 515);
  EXPECT_EQ(picture.at(2, 513), kDarkest);
  EXPECT_EQ(picture.at(1, 1), (Rgb{112, 121, 150}));  // 1 of 4: 0.6 of the way
}

// The largest square that int32 indexes, its first block full: at least 0.2 of the way.
TEST(MaskPictureTest, OneEntryOfALargeMatrixIsVisible) {
  constexpr std::int32_t kSide = 46340;
  Indices indices{kSide * kSide - 1};
  for (int row = 0; row < 46; ++row) {
    for (int column = 0; column < 46; ++column) indices.push_back(row * kSide + column);
  }
  const Picture picture = draw_mask(kSide, kSide, indices);
  EXPECT_EQ(picture.at(1, 1), kDarkest);
  EXPECT_LE(picture.at(picture.width - 2, picture.height - 2).red, 255 - 239 / 5);
}

TEST(MaskPictureTest, AMaskWithoutEntriesIsWhite) {
  EXPECT_EQ(draw_mask(1, 1, Indices{}).at(100, 100), kWhite);
}

TEST(MaskPictureTest, EmptyMatricesAndIndicesOutsideAreErrors) {
  expect_error<ShapeError>([] { draw_mask(0, 4, Indices{}); }, {"0 x 4"});
  expect_error<ShapeError>([] { draw_mask(2, 4, Indices{8}); }, {"index 8", "2 x 4"});
  expect_error<ShapeError>([] { draw_mask(2, 4, Indices{-1}); }, {"index -1"});
}

}  // namespace
}  // namespace shira
