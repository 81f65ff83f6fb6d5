#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/data/image_size.h>

#include <gtest/gtest.h>

#include <algorithm>

namespace shira {
namespace {

// make_bucket_resolutions((512, 512), min_size=256, max_size=1024, divisible=64) of kohya's
// scripts.
TEST(ImageSizeTest, BucketsOf512AreKohyas) {
  std::vector<ImageSize> expected = {{256, 1024}, {256, 832}, {256, 896}, {256, 960}, {320, 704},
                                     {320, 768},  {384, 640}, {448, 576}, {512, 512}, {576, 448},
                                     {640, 384},  {704, 320}, {768, 320}, {832, 256}, {896, 256},
                                     {960, 256},  {1024, 256}};
  std::ranges::sort(expected);
  EXPECT_EQ(bucket_sizes(512), expected);
}

TEST(ImageSizeTest, BucketsCoverAboutTheSameAreaInSteps) {
  for (const auto& [resolution, step] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {8, 8}, {64, 8}, {96, 8}, {128, 16}, {256, 32}, {512, 64}, {1024, 64}}) {
    const auto sizes = bucket_sizes(resolution);
    for (const auto [height, width] : sizes) {
      EXPECT_TRUE(height % step == 0 && width % step == 0) << resolution;
      EXPECT_LE(height * width, resolution * resolution);
      EXPECT_GE(2 * std::min(height, width), resolution);
      EXPECT_LE(std::max(height, width), 2 * resolution);
      EXPECT_NE(std::ranges::find(sizes, ImageSize{width, height}), sizes.end()) << "turned";
    }
  }
  expect_error<ConfigError>([] { bucket_sizes(7); }, {"resolution", "7", "8"});
}

TEST(ImageSizeTest, NearestBucketIsOfTheNearestShapeAndNotOfTheNearestSize) {
  const auto sizes = bucket_sizes(512);
  const auto bucket_of = [&](std::int64_t height, std::int64_t width) {
    return sizes[nearest_bucket(sizes, {height, width})];
  };
  EXPECT_EQ(bucket_of(3000, 3010), (ImageSize{512, 512}));
  EXPECT_EQ(bucket_of(30, 50), (ImageSize{384, 640}));
  EXPECT_EQ(bucket_of(5000, 3000), (ImageSize{640, 384}));
  EXPECT_EQ(bucket_of(1, 100), (ImageSize{256, 1024}));
}

TEST(ImageSizeTest, CoveringKeepsTheShapeAndOneSide) {
  EXPECT_EQ(covering_size({120, 200}, {64, 64}), (ImageSize{64, 106}));  // 106.67, as torchvision
  EXPECT_EQ(covering_size({200, 120}, {64, 64}), (ImageSize{106, 64}));
  EXPECT_EQ(covering_size({64, 64}, {64, 64}), (ImageSize{64, 64}));
  EXPECT_EQ(covering_size({10, 30}, {40, 40}), (ImageSize{40, 120}));
  EXPECT_EQ(covering_size({100, 300}, {256, 1024}), (ImageSize{341, 1024}));
}

}  // namespace
}  // namespace shira
