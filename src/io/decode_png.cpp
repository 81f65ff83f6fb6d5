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

#include <memory>

namespace shira::detail {

RgbaImage decode_png(std::span<const std::uint8_t> encoded) {
  const int size = static_cast<int>(encoded.size());
  int width = 0, height = 0, channels = 0;
  const bool is_png = stbi_info_from_memory(encoded.data(), size, &width, &height, &channels) != 0;
  SHIRA_CHECK(IoError, is_png, "not a whole PNG file: ", stbi_failure_reason());
  check_image_size(width, height);
  const std::unique_ptr<std::uint8_t, decltype(&stbi_image_free)> pixels(
      stbi_load_from_memory(encoded.data(), size, &width, &height, &channels, 4), stbi_image_free);
  SHIRA_CHECK(IoError, pixels, "not a whole PNG file: ", stbi_failure_reason());
  const std::size_t bytes =
      std::size_t{4} * static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  return {width, height, std::vector<std::uint8_t>(pixels.get(), pixels.get() + bytes)};
}

}  // namespace shira::detail
