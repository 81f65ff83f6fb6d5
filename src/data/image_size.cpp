#include <shira/base/error.h>
#include <shira/data/image_size.h>

#include <algorithm>
#include <bit>

namespace shira {
namespace {

/// How much one shape must be stretched to become the other: 1 when they are equal, more otherwise.
double shape_difference(ImageSize a, ImageSize b) {
  const double wide = static_cast<double>(a.width) * static_cast<double>(b.height);
  const double high = static_cast<double>(a.height) * static_cast<double>(b.width);
  return std::max(wide, high) / std::min(wide, high);
}

std::int64_t round_down(std::int64_t value, std::int64_t step) { return value / step * step; }

}  // namespace

std::vector<ImageSize> bucket_sizes(std::int64_t resolution) {
  SHIRA_CHECK(ConfigError, resolution >= 8, "resolution: got ", resolution,
              ", expected 8 pixels or more.");
  const auto eighth = static_cast<std::uint64_t>(resolution / 8);
  const std::int64_t step =
      std::clamp<std::int64_t>(static_cast<std::int64_t>(std::bit_floor(eighth)), 8, 64);
  const std::int64_t shortest = round_down((resolution + 1) / 2 + step - 1, step);
  const std::int64_t longest = round_down(2 * resolution, step);
  const std::int64_t square = round_down(resolution, step);
  std::vector<ImageSize> sizes = {{square, square}};
  for (std::int64_t side = shortest; side <= longest; side += step) {
    const std::int64_t other = std::min(longest, round_down(resolution * resolution / side, step));
    if (other < shortest) continue;
    sizes.push_back({side, other});
    sizes.push_back({other, side});
  }
  std::ranges::sort(sizes);
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

std::int64_t nearest_bucket(const std::vector<ImageSize>& buckets, ImageSize picture) {
  const auto nearest = std::ranges::min_element(
      buckets, {}, [&](ImageSize bucket) { return shape_difference(bucket, picture); });
  return nearest - buckets.begin();
}

ImageSize covering_size(ImageSize picture, ImageSize target) {
  if (target.width * picture.height >= target.height * picture.width) {
    return {target.width * picture.height / picture.width, target.width};
  }
  return {target.height, target.height * picture.width / picture.height};
}

}  // namespace shira
