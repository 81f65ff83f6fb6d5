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

/// The bytes of the character that `text` begins with; 0 if it is not well formed.
std::size_t character_size(std::string_view text) {
  const Lead lead = classify_lead(static_cast<unsigned char>(text[0]));
  if (!lead.is_valid || text.size() <= lead.following) return 0;
  for (std::size_t i = 1; i <= lead.following; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < (i == 1 ? lead.low : 0x80) || byte > (i == 1 ? lead.high : 0xBF)) return 0;
  }
  return lead.following + 1;
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
