#include "decoders.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/image_file.h>

#include <cstring>

namespace shira {
namespace {

constexpr std::int64_t kMostPixels = 178956970;
constexpr std::size_t kMostBytes = std::size_t{1} << 30;  // stb counts in int

bool begins_with(std::span<const std::uint8_t> bytes, std::string_view start, std::size_t at = 0) {
  return bytes.size() >= at + start.size() &&
         std::memcmp(bytes.data() + at, start.data(), start.size()) == 0;
}

detail::RgbaImage decode(std::span<const std::uint8_t> bytes) {
  SHIRA_CHECK(IoError, bytes.size() <= kMostBytes, "larger than a GiB");
  if (begins_with(bytes, "\x89PNG\r\n\x1a\n")) return detail::decode_png(bytes);
  if (begins_with(bytes, "\xFF\xD8\xFF")) return detail::decode_jpeg(bytes);
  if (begins_with(bytes, "RIFF") && begins_with(bytes, "WEBP", 8))
    return detail::decode_webp(bytes);
  throw IoError(bytes.empty() ? "an empty file" : "neither PNG, JPEG nor WebP");
}

/// As Pillow rounds: value * alpha / 255.
std::uint8_t blended(std::uint8_t over, std::uint8_t under, std::uint8_t alpha) {
  const unsigned sum = unsigned{over} * alpha + unsigned{under} * (255u - alpha) + 128u;
  return static_cast<std::uint8_t>(((sum >> 8) + sum) >> 8);
}

Picture over(const detail::RgbaImage& image, const Rgb& background) {
  Picture picture(image.width, image.height);
  const std::uint8_t* in = image.bytes.data();
  for (Rgb& pixel : picture.pixels) {
    pixel = {blended(in[0], background.red, in[3]), blended(in[1], background.green, in[3]),
             blended(in[2], background.blue, in[3])};
    in += 4;
  }
  return picture;
}

int hex_digit(char letter) {
  if (letter >= '0' && letter <= '9') return letter - '0';
  const char lower = static_cast<char>(letter | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

namespace detail {

void check_image_size(double width, double height) {
  const bool is_allowed =
      width >= 1 && height >= 1 && width * height <= static_cast<double>(kMostPixels);
  SHIRA_CHECK(IoError, is_allowed, "it claims ", width, " x ", height, " pixels; expected 1 to ",
              kMostPixels, " of them");
}

}  // namespace detail

Picture read_image(const std::filesystem::path& path, const Rgb& background) {
  const std::string bytes = read_file(path);
  try {
    return decode_image(bytes, background);
  } catch (const IoError& error) {
    throw IoError(path.string() + ": " + error.what());
  }
}

Picture decode_image(std::string_view bytes, const Rgb& background) {
  return over(decode({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}),
              background);
}

Rgb parse_colour(const std::string& text) {
  if (text == "white") return {255, 255, 255};
  if (text == "black") return {0, 0, 0};
  bool is_hex = text.size() == 7 && text[0] == '#';
  std::uint8_t parts[3] = {};
  for (std::size_t i = 0; is_hex && i < 3; ++i) {
    const int high = hex_digit(text[2 * i + 1]), low = hex_digit(text[2 * i + 2]);
    is_hex = high >= 0 && low >= 0;
    parts[i] = static_cast<std::uint8_t>(16 * high + low);
  }
  SHIRA_CHECK(ConfigError, is_hex, "image_background '", text,
              "' is no colour. Expected white, black or #rrggbb.");
  return {parts[0], parts[1], parts[2]};
}

}  // namespace shira
