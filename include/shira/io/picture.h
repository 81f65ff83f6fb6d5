// Pictures and their PNG files.
#pragma once

#include <shira/base/export.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace shira {

/// A colour; white at first.
struct Rgb {
  std::uint8_t red = 255;
  std::uint8_t green = 255;
  std::uint8_t blue = 255;

  friend bool operator==(const Rgb&, const Rgb&) = default;
};

/// Pixels, row by row from the top; white at first.
struct Picture {
  Picture(int columns, int rows)
      : width(columns),
        height(rows),
        pixels(static_cast<std::size_t>(columns) * static_cast<std::size_t>(rows)) {}

  Rgb& at(int x, int y) { return pixels[index(x, y)]; }
  const Rgb& at(int x, int y) const { return pixels[index(x, y)]; }

  int width;
  int height;
  std::vector<Rgb> pixels;  // (height, width)

 private:
  std::size_t index(int x, int y) const {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
           static_cast<std::size_t>(x);
  }
};

/// Writes an RGB PNG file atomically. IoError when the file cannot be written, ShapeError when the
/// picture has no pixels, or a GiB of them and more.
SHIRA_API void write_png(const std::filesystem::path& path, const Picture& picture);

}  // namespace shira
