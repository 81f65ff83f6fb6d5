// Text from outside is UTF-8 or refused: a tokenizer would silently make bytes of anything else.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace shira {

/// Where the first character begins that is not UTF-8 (Unicode 15, table 3-7); npos if there is
/// none.
std::size_t find_invalid_utf8(std::string_view text);

/// "line:column" of a byte, both counted from 1, the column in bytes.
std::string place_of(std::string_view text, std::size_t offset);

/// The bytes of the character that begins at `offset` of well-formed text.
std::size_t utf8_size(std::string_view text, std::size_t offset);
/// Its code point.
char32_t utf8_decode(std::string_view text, std::size_t offset);
void append_utf8(std::string& text, char32_t character);

/// `bytes` with U+FFFD for each longest part of a character that is not complete, as Python's and
/// Rust's decoders have it.
std::string replace_invalid_utf8(std::string_view bytes);

/// Unicode's White_Space.
bool is_white_space(char32_t character);

/// Reads a whole file; IoError names the line and byte of what is not UTF-8.
std::string read_utf8_file(const std::filesystem::path& path);

}  // namespace shira
