// PNG by stb_image_write, compiled into this file alone.
#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/picture.h>

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#include <stb_image_write.h>

#include <string>

namespace shira {
namespace {

static_assert(sizeof(Rgb) == 3, "the pixels are handed on as bytes");

void append_to_string(void* string, void* data, int size) {
  static_cast<std::string*>(string)->append(static_cast<const char*>(data),
                                            static_cast<std::size_t>(size));
}

}  // namespace

void write_png(const std::filesystem::path& path, const Picture& picture) {
  constexpr std::size_t kTooManyBytes = std::size_t{1} << 30;  // stb counts in int and doubles
  const std::size_t bytes = picture.pixels.size() * sizeof(Rgb);
  SHIRA_CHECK(ShapeError, 0 < bytes && bytes < kTooManyBytes, path, ": cannot write a picture of ",
              picture.width, " x ", picture.height, " pixels, expected 1 to ",
              kTooManyBytes / sizeof(Rgb));
  std::string png;
  const int written = stbi_write_png_to_func(append_to_string, &png, picture.width, picture.height,
                                             3, picture.pixels.data(), 3 * picture.width);
  SHIRA_CHECK(IoError, written != 0, path, ": not enough memory to compress the picture");
  write_file(path, png);
}

}  // namespace shira
