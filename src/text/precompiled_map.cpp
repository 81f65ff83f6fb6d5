// The trie is darts-clone's (https://github.com/s-yata/darts-clone, BSD-2-Clause), its lookup as in
// huggingface/spm_precompiled, of whose result the first, shortest match is used.
#include "precompiled_map.h"

#include "utf8.h"

#include <shira/base/error.h>

#include <utf8proc.h>

#include <array>
#include <cstring>

namespace shira {
namespace {

std::string decode_base64(const std::string& encoded) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : encoded) {
    if (c == '=') break;
    const std::size_t value = kAlphabet.find(c);
    SHIRA_CHECK(IoError, value != kAlphabet.npos, "not base64");
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>((bits >> count) & 0xFF);
  }
  return bytes;
}

// A unit of the trie.
bool has_leaf(std::uint32_t unit) { return ((unit >> 8) & 1) != 0; }
std::uint32_t value_of(std::uint32_t unit) { return unit & 0x7FFFFFFF; }
std::uint32_t label_of(std::uint32_t unit) { return unit & 0x800000FF; }
std::uint32_t offset_of(std::uint32_t unit) { return (unit >> 10) << ((unit & 0x200) >> 6); }

}  // namespace

PrecompiledMap::PrecompiledMap(const std::string& encoded) {
  const std::string bytes = decode_base64(encoded);
  std::uint32_t size = 0;
  SHIRA_CHECK(IoError, bytes.size() >= sizeof size, "truncated");
  std::memcpy(&size, bytes.data(), sizeof size);
  SHIRA_CHECK(IoError, size % 4 == 0 && size > 0 && size <= bytes.size() - sizeof size,
              "its trie is truncated");
  trie_.resize(size / 4);
  std::memcpy(trie_.data(), bytes.data() + sizeof size, size);
  replacements_ = bytes.substr(sizeof size + size);
  SHIRA_CHECK(IoError, !replacements_.empty() && replacements_.back() == '\0',
              "its replacements are truncated");
}

std::optional<std::string_view> PrecompiledMap::find(std::string_view chunk) const {
  std::uint32_t node = offset_of(trie_[0]);
  for (const char c : chunk) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0) return std::nullopt;
    node ^= byte;
    if (node >= trie_.size() || label_of(trie_[node]) != byte) return std::nullopt;
    const std::uint32_t unit = trie_[node];
    node ^= offset_of(unit);
    if (node >= trie_.size()) return std::nullopt;
    if (!has_leaf(unit)) continue;
    const std::uint32_t begin = value_of(trie_[node]);
    if (begin >= replacements_.size()) return std::nullopt;
    return std::string_view(replacements_.data() + begin);
  }
  return std::nullopt;
}

AlignedText PrecompiledMap::apply(const AlignedText& text) const {
  constexpr std::size_t kClusterBytes = 6;
  const std::string& bytes = text.text();
  AlignedText result = text.rebuilt();
  const auto append = [&](TextRange range) {
    const auto rule = find(std::string_view(bytes).substr(range.begin, range.end - range.begin));
    if (rule) result.append(text, range, *rule);
    return rule.has_value();
  };
  for (std::size_t i = 0; i < bytes.size();) {
    std::size_t end = i + utf8_size(bytes, i);
    utf8proc_int32_t state = 0;
    auto previous = static_cast<utf8proc_int32_t>(utf8_decode(bytes, i));
    while (end < bytes.size()) {
      const auto next = static_cast<utf8proc_int32_t>(utf8_decode(bytes, end));
      if (utf8proc_grapheme_break_stateful(previous, next, &state)) break;
      previous = next;
      end += utf8_size(bytes, end);
    }
    if (end - i >= kClusterBytes || !append({i, end})) {
      for (std::size_t at = i; at < end;) {
        const TextRange character{at, at + utf8_size(bytes, at)};
        if (!append(character)) result.append(text, character);
        at = character.end;
      }
    }
    i = end;
  }
  return result;
}

}  // namespace shira
