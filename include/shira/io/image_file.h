// Reading pictures: PNG, JPEG and WebP files, by their content and not by their names.
#pragma once

#include <shira/base/export.h>
#include <shira/io/picture.h>

#include <filesystem>
#include <string>
#include <string_view>

namespace shira {

/// The picture in 8 bits a channel, transparent pixels over `background` as Pillow pastes them,
/// turned as its EXIF orientation says. IoError for what is none of the formats, truncated,
/// CMYK, animated, or of more than 178,956,970 pixels (Pillow's limit).
SHIRA_API Picture read_image(const std::filesystem::path& path, const Rgb& background = {});

/// read_image of a file's bytes; IoError does not know the file's name.
SHIRA_API Picture decode_image(std::string_view bytes, const Rgb& background = {});

/// "white", "black" or "#rrggbb". ConfigError otherwise.
SHIRA_API Rgb parse_colour(const std::string& text);

}  // namespace shira
