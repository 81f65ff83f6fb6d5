// PNG by stb_image, compiled into this file alone; like Pillow it pays no heed to gamma.
#include "decoders.h"

#include <shira/base/error.h>

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include <stb_image.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#include <array>
#include <memory>
#include <utility>

namespace shira::detail {
namespace {

constexpr std::size_t kSignatureBytes = 8;

/// CRC-32 (ISO 3309), a byte at a time: annex D of the PNG specification.
std::uint32_t crc_of(std::span<const std::uint8_t> bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> made{};
    for (std::uint32_t i = 0; i < made.size(); ++i) {
      made[i] = i;
      for (int bit = 0; bit < 8; ++bit) made[i] = made[i] >> 1 ^ (made[i] & 1 ? 0xEDB88320 : 0);
    }
    return made;
  }();
  std::uint32_t crc = 0xFFFFFFFF;
  for (const std::uint8_t byte : bytes) crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8;
  return ~crc;
}

std::uint32_t big_endian(std::span<const std::uint8_t> bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
         std::uint32_t{bytes[2]} << 8 | bytes[3];
}

/// The data of the eXIf chunk, empty without one. Checks the checksums: stb_image passes over them,
/// and would make noise of a damaged file.
std::span<const std::uint8_t> check_chunks(std::span<const std::uint8_t> encoded) {
  constexpr std::uint32_t kEnd = 0x49454E44;   // "IEND"
  constexpr std::uint32_t kExif = 0x65584966;  // "eXIf"
  std::span<const std::uint8_t> exif;
  auto rest = encoded.subspan(kSignatureBytes);
  for (std::uint32_t type = 0; type != kEnd;) {  // length, type, data, checksum
    const bool is_whole = rest.size() >= 12 && big_endian(rest) <= rest.size() - 12;
    SHIRA_CHECK(IoError, is_whole, "a truncated PNG file");
    const std::size_t length = big_endian(rest);
    SHIRA_CHECK(IoError,
                crc_of(rest.subspan(4, 4 + length)) == big_endian(rest.subspan(8 + length)),
                "a damaged PNG file: the checksum at byte ", encoded.size() - rest.size(),
                " does not match");
    type = big_endian(rest.subspan(4));
    if (type == kExif) exif = rest.subspan(8, length);
    rest = rest.subspan(12 + length);
  }
  return exif;
}

}  // namespace

RgbaImage decode_png(std::span<const std::uint8_t> encoded) {
  constexpr std::size_t kSizes = 16;  // where the header's width and height are
  if (encoded.size() >= kSizes + 8) {
    check_image_size(big_endian(encoded.subspan(kSizes)), big_endian(encoded.subspan(kSizes + 4)));
  }
  const int size = static_cast<int>(encoded.size());
  int width = 0, height = 0, channels = 0;
  const bool is_png = stbi_info_from_memory(encoded.data(), size, &width, &height, &channels) != 0;
  SHIRA_CHECK(IoError, is_png, "not a whole PNG file: ", stbi_failure_reason());
  const auto exif = check_chunks(encoded);
  const std::unique_ptr<std::uint8_t, decltype(&stbi_image_free)> pixels(
      stbi_load_from_memory(encoded.data(), size, &width, &height, &channels, 4), stbi_image_free);
  SHIRA_CHECK(IoError, pixels, "not a whole PNG file: ", stbi_failure_reason());
  const std::size_t bytes =
      std::size_t{4} * static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  RgbaImage image{width, height, std::vector<std::uint8_t>(pixels.get(), pixels.get() + bytes)};
  return upright(std::move(image), exif_orientation(exif));
}

}  // namespace shira::detail
