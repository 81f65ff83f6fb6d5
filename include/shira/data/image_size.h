// Which size a picture is trained at: a square, or the nearest of several shapes of one area
// (aspect-ratio buckets, as NovelAI and kohya's scripts have them).
#pragma once

#include <shira/base/export.h>

#include <compare>
#include <cstdint>
#include <vector>

namespace shira {

/// In pixels; height first, as SDXL's size conditioning has it.
struct ImageSize {
  std::int64_t height = 0;
  std::int64_t width = 0;

  friend auto operator<=>(const ImageSize&, const ImageSize&) = default;
};

/// Sizes of at most resolution^2 pixels, sides from resolution / 2 to resolution * 2: for each side
/// in steps, the longest other one. A step is 64 pixels, below a resolution of 512 less: 32, 16 or
/// 8. Sorted; ConfigError for a resolution below 8.
SHIRA_API std::vector<ImageSize> bucket_sizes(std::int64_t resolution);

/// Index of the bucket whose width / height is nearest, as a factor, to the picture's.
SHIRA_API std::int64_t nearest_bucket(const std::vector<ImageSize>& buckets, ImageSize picture);

/// The smallest size that covers `target` and keeps the picture's shape, rounded down like
/// torchvision's Resize: one side is the target's.
SHIRA_API ImageSize covering_size(ImageSize picture, ImageSize target);

}  // namespace shira
