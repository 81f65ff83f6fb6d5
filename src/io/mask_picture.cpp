// Counts the trained entries of each block, then turns counts into darkness.
#include "drawing.h"

#include <shira/base/error.h>
#include <shira/io/mask_picture.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace shira {
namespace {

constexpr std::int64_t kMostPixels = 1024;
constexpr std::int64_t kLeastPixels = 256;
constexpr Rgb kFrame{120, 124, 132};
constexpr Rgb kDarkest{16, 32, 80};
constexpr double kPalestShare = 0.2;  // of the way from white to the darkest

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// A matrix cut into square blocks; those at the right and lower edge may be smaller.
struct Blocks {
  Blocks(std::int64_t rows, std::int64_t cols, std::int64_t side)
      : size(side), height(divide_up(rows, side)), width(divide_up(cols, side)) {
    shares.resize(static_cast<std::size_t>(height * width));
  }

  double& at(std::int64_t y, std::int64_t x) {
    return shares[static_cast<std::size_t>(y * width + x)];
  }

  std::int64_t size;
  std::int64_t height;
  std::int64_t width;
  std::vector<double> shares;  // (height, width), of entries that are trained
};

Blocks count_blocks(std::int64_t rows, std::int64_t cols, std::span<const std::int32_t> indices) {
  Blocks blocks(rows, cols, divide_up(std::max(rows, cols), kMostPixels));
  const std::int64_t size = blocks.size;
  for (const std::int32_t index : indices) {
    SHIRA_CHECK(ShapeError, 0 <= index && index < rows * cols, "draw_mask: got index ", index,
                " for a matrix of ", rows, " x ", cols);
    const std::int64_t y = index / cols / size;
    const std::int64_t x = index % cols / size;
    const std::int64_t area = std::min(size, rows - y * size) * std::min(size, cols - x * size);
    blocks.at(y, x) += 1.0 / static_cast<double>(area);
  }
  return blocks;
}

/// Sparse masks would be all but white without the square root.
Rgb colour_of(double share, double largest) {
  if (share == 0) return Rgb{};
  const double darkness = kPalestShare + (1 - kPalestShare) * std::sqrt(share / largest);
  const auto mix = [&](int darkest) {
    return static_cast<std::uint8_t>(std::lround(255 - darkness * (255 - darkest)));
  };
  return {mix(kDarkest.red), mix(kDarkest.green), mix(kDarkest.blue)};
}

}  // namespace

Picture draw_mask(std::int64_t rows, std::int64_t cols, std::span<const std::int32_t> indices) {
  SHIRA_CHECK(ShapeError, rows > 0 && cols > 0, "draw_mask: got a matrix of ", rows, " x ", cols,
              ", expected one with entries");
  Blocks blocks = count_blocks(rows, cols, indices);
  const double largest = *std::max_element(blocks.shares.begin(), blocks.shares.end());
  const std::int64_t scale =
      std::max<std::int64_t>(1, divide_up(kLeastPixels, std::max(rows, cols)));
  const int side = static_cast<int>(scale);
  const int width = static_cast<int>(blocks.width) * side;
  const int height = static_cast<int>(blocks.height) * side;
  Picture picture(width + 2, height + 2);
  detail::fill_rectangle(picture, 0, 0, width + 2, height + 2, kFrame);
  for (int y = 0; y < blocks.height; ++y) {
    for (int x = 0; x < blocks.width; ++x) {
      detail::fill_rectangle(picture, 1 + x * side, 1 + y * side, side, side,
                             colour_of(blocks.at(y, x), largest));
    }
  }
  return picture;
}

}  // namespace shira
