// The little of EXIF (a TIFF directory) that says how a camera was held.
#include "decoders.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace shira::detail {
namespace {

constexpr std::string_view kPrefix("Exif\0\0", 6);  // in JPEG always, in WebP often, in PNG never
constexpr std::uint32_t kOrientationTag = 0x0112;

/// Numbers of either byte order at checked places.
class TiffReader {
 public:
  explicit TiffReader(std::span<const std::uint8_t> bytes)
      : bytes_(bytes), is_big_(bytes.size() > 1 && bytes[0] == 'M') {}

  bool is_tiff() const { return number(0, 2) == (is_big_ ? 0x4D4D : 0x4949) && number(2, 2) == 42; }

  /// The number of `size` bytes at `place`; 0 where it is not inside.
  std::uint32_t number(std::size_t place, std::size_t size) const {
    if (place > bytes_.size() || bytes_.size() - place < size) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      value = value << 8 | bytes_[place + (is_big_ ? i : size - 1 - i)];
    }
    return value;
  }

 private:
  std::span<const std::uint8_t> bytes_;
  bool is_big_;
};

/// Where the pixel that shall stand at (x, y) stands now.
std::pair<int, int> source_of(int x, int y, int width, int height, int orientation) {
  switch (orientation) {
    case 2: return {width - 1 - x, y};
    case 3: return {width - 1 - x, height - 1 - y};
    case 4: return {x, height - 1 - y};
    case 5: return {y, x};
    case 6: return {y, height - 1 - x};
    case 7: return {width - 1 - y, height - 1 - x};
    case 8: return {width - 1 - y, x};
    default: return {x, y};
  }
}

}  // namespace

int exif_orientation(std::span<const std::uint8_t> exif) {
  const bool has_prefix = exif.size() >= kPrefix.size() &&
                          std::memcmp(exif.data(), kPrefix.data(), kPrefix.size()) == 0;
  const TiffReader tiff(has_prefix ? exif.subspan(kPrefix.size()) : exif);
  if (!tiff.is_tiff()) return 1;
  const std::size_t directory = tiff.number(4, 4);
  const std::uint32_t entries = tiff.number(directory, 2);
  for (std::uint32_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + std::size_t{12} * i;
    if (tiff.number(entry, 2) != kOrientationTag) continue;
    const std::uint32_t value = tiff.number(entry + 8, 2);
    return 1 <= value && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

RgbaImage upright(RgbaImage image, int orientation) {
  if (orientation == 1) return image;
  const bool is_turned = orientation >= 5;
  RgbaImage result{is_turned ? image.height : image.width, is_turned ? image.width : image.height,
                   std::vector<std::uint8_t>(image.bytes.size())};
  std::uint8_t* out = result.bytes.data();
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x, out += 4) {
      const auto [from_x, from_y] = source_of(x, y, image.width, image.height, orientation);
      const std::size_t place =
          static_cast<std::size_t>(from_y) * static_cast<std::size_t>(image.width) +
          static_cast<std::size_t>(from_x);
      std::copy_n(image.bytes.data() + 4 * place, 4, out);
    }
  }
  return result;
}

}  // namespace shira::detail
