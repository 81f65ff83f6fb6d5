// One function a format: encoded bytes to pixels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace shira::detail {

/// Rows from the top, four bytes (red, green, blue, alpha) a pixel.
struct RgbaImage {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> bytes = {};
};

/// IoError unless a picture of this size may be decoded.
void check_image_size(double width, double height);

// IoError says what is wrong, without the file's name.
RgbaImage decode_png(std::span<const std::uint8_t> encoded);
RgbaImage decode_jpeg(std::span<const std::uint8_t> encoded);
RgbaImage decode_webp(std::span<const std::uint8_t> encoded);

/// The orientation (1 to 8) in EXIF data: the APP1 segment of a JPEG, the eXIf chunk of a PNG, the
/// EXIF chunk of a WebP; 1 where it says nothing, or nothing that makes sense.
int exif_orientation(std::span<const std::uint8_t> exif);

/// The picture turned and mirrored as `orientation` (1 to 8) says, to be looked at upright.
RgbaImage upright(RgbaImage image, int orientation);

}  // namespace shira::detail
