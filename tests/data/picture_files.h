// Pictures as files, for tests of what reads them.
#pragma once

#include "io/temporary_directory.h"

#include <shira/io/atomic_file.h>
#include <shira/io/picture.h>

#include <filesystem>
#include <string>

namespace shira {

/// Red is 7 x, green 5 y, blue `blue`, modulo 256: no two places of a small picture are alike.
inline void write_picture(const std::filesystem::path& path, int width, int height,
                          std::uint8_t blue = 0) {
  Picture picture(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      picture.at(x, y) = {static_cast<std::uint8_t>(7 * x), static_cast<std::uint8_t>(5 * y), blue};
    }
  }
  write_png(path, picture);
}

}  // namespace shira
