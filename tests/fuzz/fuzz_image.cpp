// Any bytes are either refused with IoError or a picture of the size that it says. The seeds are
// the files of corpus/image (scripts/make_image_fixtures.py). A PNG is tried once more with its
// checksums repaired, or else no mutation would ever get past them.
#include "mutation_driver.h"

#include <shira/base/error.h>
#include <shira/io/image_file.h>

namespace {

constexpr std::size_t kLargestInput = 1 << 16;
constexpr std::size_t kSignatureBytes = 8;

std::uint32_t crc_of(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFF;
  for (const char byte : bytes) {
    crc ^= static_cast<std::uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
  }
  return ~crc;
}

std::uint32_t number_at(const std::string& bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = at; i < at + 4; ++i)
    value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
  return value;
}

/// The chunks (length, type, data, checksum) with right checksums, as far as they are whole.
std::string with_checksums(std::string png) {
  std::size_t at = kSignatureBytes;
  while (at + 12 <= png.size() && number_at(png, at) <= png.size() - at - 12) {
    const std::size_t length = number_at(png, at);
    const std::uint32_t crc = crc_of(std::string_view(png).substr(at + 4, 4 + length));
    for (std::size_t i = 0; i < 4; ++i) {
      png[at + 8 + length + i] = static_cast<char>(crc >> (24 - 8 * i));
    }
    at += 12 + length;
  }
  return png;
}

void decode(std::string_view bytes) {
  try {
    const shira::Picture picture = shira::decode_image(bytes);
    const auto pixels =
        static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.height);
    if (picture.width < 1 || picture.height < 1 || picture.pixels.size() != pixels) std::abort();
  } catch (const shira::IoError&) {
  }
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {"\x89PNG\r\n\x1a\n", "\xff\xd8\xff\xe0", std::string("RIFF\x10\0\0\0WEBPVP8 ", 16)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > kLargestInput) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  decode(bytes);
  if (bytes.starts_with("\x89PNG")) decode(with_checksums(std::string(bytes)));
  return 0;
}
