// GPT-2's alphabet: each byte as one printable character, so that any bytes are text.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace shira {

/// The character (UTF-8) that stands for each byte.
const std::array<std::string, 256>& byte_characters();

/// The bytes that `text` stands for; nothing if it has a character that is not of the alphabet.
std::optional<std::string> bytes_of(std::string_view text);

/// The piece that stands for a byte where a model falls back to bytes: "<0x0A>".
std::string fallback_piece(unsigned char byte);

}  // namespace shira
