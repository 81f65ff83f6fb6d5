// The well-formed byte sequences, from their lead byte: how many bytes follow it, and the range of
// the first of them, which excludes overlong forms, surrogates and what is above U+10FFFF.
#include "utf8.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>

#include <algorithm>

namespace shira {
namespace {

struct Lead {
  std::size_t following = 0;
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  bool is_valid = true;
};

Lead classify_lead(unsigned char byte) {
  if (byte < 0x80) return {};
  if (byte >= 0xC2 && byte <= 0xDF) return {.following = 1};
  if (byte == 0xE0) return {.following = 2, .low = 0xA0};
  if (byte == 0xED) return {.following = 2, .high = 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {.following = 2};
  if (byte == 0xF0) return {.following = 3, .low = 0x90};
  if (byte == 0xF4) return {.following = 3, .high = 0x8F};
  if (byte >= 0xF1 && byte <= 0xF3) return {.following = 3};
  return {.is_valid = false};
}

/// How many of the first bytes begin a character; at least 1.
std::size_t valid_prefix(std::string_view text) {
  const Lead lead = classify_lead(static_cast<unsigned char>(text[0]));
  std::size_t size = 1;
  while (size < text.size() && size <= lead.following) {
    const auto byte = static_cast<unsigned char>(text[size]);
    if (byte < (size == 1 ? lead.low : 0x80) || byte > (size == 1 ? lead.high : 0xBF)) break;
    ++size;
  }
  return size;
}

/// The bytes of the character that `text` begins with; 0 if it is not well formed.
std::size_t character_size(std::string_view text) {
  const Lead lead = classify_lead(static_cast<unsigned char>(text[0]));
  const std::size_t size = valid_prefix(text);
  return lead.is_valid && size == lead.following + 1 ? size : 0;
}

}  // namespace

std::size_t find_invalid_utf8(std::string_view text) {
  std::size_t offset = 0;
  while (offset < text.size()) {
    const std::size_t size = character_size(text.substr(offset));
    if (size == 0) return offset;
    offset += size;
  }
  return text.npos;
}

std::size_t utf8_size(std::string_view text, std::size_t offset) {
  const auto lead = static_cast<unsigned char>(text[offset]);
  if (lead < 0x80) return 1;
  if (lead < 0xE0) return 2;
  return lead < 0xF0 ? 3 : 4;
}

char32_t utf8_decode(std::string_view text, std::size_t offset) {
  const std::size_t size = utf8_size(text, offset);
  const auto lead = static_cast<unsigned char>(text[offset]);
  if (size == 1) return lead;
  char32_t character = lead & (0x7F >> size);
  for (std::size_t i = 1; i < size; ++i) {
    character = (character << 6) | (static_cast<unsigned char>(text[offset + i]) & 0x3F);
  }
  return character;
}

void append_utf8(std::string& text, char32_t character) {
  const auto push = [&text](char32_t byte) { text += static_cast<char>(byte); };
  if (character < 0x80) return push(character);
  if (character < 0x800) {
    push(0xC0 | (character >> 6));
  } else if (character < 0x10000) {
    push(0xE0 | (character >> 12));
    push(0x80 | ((character >> 6) & 0x3F));
  } else {
    push(0xF0 | (character >> 18));
    push(0x80 | ((character >> 12) & 0x3F));
    push(0x80 | ((character >> 6) & 0x3F));
  }
  push(0x80 | (character & 0x3F));
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const std::size_t valid = std::min(find_invalid_utf8(bytes), bytes.size());
    text += bytes.substr(0, valid);
    bytes.remove_prefix(valid);
    if (bytes.empty()) break;
    text += "\uFFFD";
    bytes.remove_prefix(valid_prefix(bytes));
  }
  return text;
}

bool is_white_space(char32_t character) {
  if (character <= 0x20) return character == 0x20 || (character >= 0x09 && character <= 0x0D);
  if (character < 0x1680) return character == 0x85 || character == 0xA0;
  return character == 0x1680 || (character >= 0x2000 && character <= 0x200A) ||
         character == 0x2028 || character == 0x2029 || character == 0x202F || character == 0x205F ||
         character == 0x3000;
}

std::string place_of(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  return detail::concat(line, ":", before.size() - (before.rfind('\n') + 1) + 1);
}

std::string read_utf8_file(const std::filesystem::path& path) {
  std::string text = read_file(path);
  const std::size_t offset = find_invalid_utf8(text);
  SHIRA_CHECK(IoError, offset == text.npos, path.string(), ":", place_of(text, offset),
              ": not UTF-8 (byte ", offset, " of the file). Convert it, for example with iconv.");
  return text;
}

}  // namespace shira
