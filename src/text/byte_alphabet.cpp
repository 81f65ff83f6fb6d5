// bytes_to_unicode of openai/gpt-2: printable bytes of Latin-1 stand for themselves, the others are
// numbered from U+0100 on.
#include "byte_alphabet.h"

#include "utf8.h"

#include <unordered_map>

namespace shira {
namespace {

bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
         (byte >= 0xAE && byte <= 0xFF);
}

std::array<std::string, 256> make_characters() {
  std::array<std::string, 256> characters;
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    append_utf8(characters[byte], stands_for_itself(byte) ? static_cast<char32_t>(byte) : next++);
  }
  return characters;
}

}  // namespace

const std::array<std::string, 256>& byte_characters() {
  static const std::array<std::string, 256> characters = make_characters();
  return characters;
}

std::optional<std::string> bytes_of(std::string_view text) {
  static const auto bytes = [] {
    std::unordered_map<std::string_view, char> map;
    for (int byte = 0; byte < 256; ++byte)
      map.emplace(byte_characters()[byte], static_cast<char>(byte));
    return map;
  }();
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t size = utf8_size(text, i);
    const auto found = bytes.find(text.substr(i, size));
    if (found == bytes.end()) return std::nullopt;
    result += found->second;
    i += size;
  }
  return result;
}

std::string fallback_piece(unsigned char byte) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  return std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">";
}

}  // namespace shira
