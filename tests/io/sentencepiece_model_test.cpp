// Models as sentencepiece's trainer does not write them. The messages are put together by hand.
#include "../../src/io/sentencepiece_model.h"

#include "expect_error.h"

#include <shira/base/error.h>

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace shira {
namespace {

using detail::check_sentencepiece_model;

std::string varint(std::size_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(0x80 | (value & 0x7f));
  return bytes + static_cast<char>(value);
}

std::string text_field(int number, const std::string& bytes) {
  return varint(static_cast<std::size_t>(number) << 3 | 2) + varint(bytes.size()) + bytes;
}

std::string piece(const std::string& text, int type = 1) {
  return text_field(1, text_field(1, text) + varint(3 << 3) + varint(type));
}

constexpr std::size_t kUnits = 512;
using Units = std::vector<std::uint32_t>;

std::uint32_t unit(std::uint32_t label, std::uint32_t offset, bool has_value) {
  return label | (has_value ? 1u << 8 : 0u) | offset << 10;
}

/// One rule: "a" becomes the text at `value`. The root's children start at 256, the value of "a" is
/// at 257.
Units one_rule(std::uint32_t value) {
  Units units(kUnits);
  units[0] = unit(0, 256, false);
  units[256 ^ 'a'] = unit('a', 256 ^ 'a' ^ 257, true);
  units[257] = 1u << 31 | value;
  return units;
}

std::string normalizer(const Units& units, const std::string& texts, int number = 3) {
  const auto size = static_cast<std::uint32_t>(units.size() * 4);
  std::string map(reinterpret_cast<const char*>(&size), 4);
  for (const auto& unit : units) map.append(reinterpret_cast<const char*>(&unit), sizeof unit);
  return text_field(number, text_field(2, map + texts));
}

const std::string kTexts("b\0c\0", 4);

void expect_refused(const std::string& model, std::initializer_list<std::string_view> words) {
  expect_error<IoError>([&] { check_sentencepiece_model(model); }, words);
}

TEST(SentencepieceModel, PiecesAndACharacterMap) {
  check_sentencepiece_model("");
  check_sentencepiece_model(piece("a") + piece("ab", 4) + normalizer(one_rule(2), kTexts) +
                            normalizer(one_rule(0), kTexts, 5));
  check_sentencepiece_model(piece(std::string(4096, 'a')) + text_field(3, text_field(2, "")));
}

TEST(SentencepieceModel, BrokenMessages) {
  expect_refused(text_field(1, "abc").substr(0, 4), {"ends within"});
  expect_refused("\x0a" + std::string(10, '\xff'), {"does not end"});
  expect_refused("\x0b", {"unknown kind"});  // a group
}

TEST(SentencepieceModel, PiecesThatItsTriesCannotHold) {
  expect_refused(piece(std::string(4097, 'a')), {"4097 bytes", "at most 4096"});
  expect_refused(piece(std::string("a\0b", 3)), {"zero byte"});
}

TEST(SentencepieceModel, UserDefinedSymbolsThatNest) {
  std::string model, symbols;
  for (std::size_t length = 1; length <= 64; ++length) {
    model += piece(std::string(length, 'a'));  // ordinary pieces may
    symbols += piece(std::string(length, 'b'), 4);
  }
  check_sentencepiece_model(model + piece(std::string(65, 'a')) + symbols + piece("c", 4));
  expect_refused(symbols + piece(std::string(65, 'b'), 4), {"64 user-defined symbols"});
}

TEST(SentencepieceModel, CharacterMapsThatReachOutside) {
  expect_refused(normalizer(one_rule(4), kTexts), {"outside of its texts"});
  expect_refused(normalizer(one_rule(0), "b"), {"wrong size"});  // no zero byte at the end
  expect_refused(normalizer({}, kTexts), {"without a trie"});
  Units units = one_rule(0);
  units[0] = unit(0, kUnits, false);
  expect_refused(normalizer(units, kTexts), {"trie reaches outside"});
  units = one_rule(0);
  units[256 ^ 'a'] = unit('a', 1 << 20, false);
  expect_refused(normalizer(units, kTexts), {"trie reaches outside"});
  units.resize(kUnits - 1);  // the last block is not whole
  expect_refused(normalizer(units, kTexts), {"trie reaches outside"});
}

TEST(SentencepieceModel, CharacterMapsOfWrongSizes) {
  expect_refused(text_field(3, text_field(2, "abcd")), {"too short"});
  expect_refused(text_field(3, text_field(2, std::string("\4\0\0\0\0\0\0\0", 8))), {"wrong size"});
  expect_refused(text_field(3, text_field(2, std::string("\1\0\0\0\0\0", 6))), {"wrong size"});
}

// "a", "aa", "aaa", ... all are rules when the unit of "a" leads back to the root's children.
TEST(SentencepieceModel, RulesThatNestForever) {
  Units units = one_rule(0);
  units[256 ^ 'a'] = unit('a', 'a', true);
  units[256] = 1u << 31;
  expect_refused(normalizer(units, kTexts), {"more than 32 rules"});
}

TEST(SentencepieceModel, LoopsWithoutRulesAreHarmless) {
  Units units = one_rule(0);
  units[256 ^ 'b'] = unit('b', 'b', false);
  check_sentencepiece_model(normalizer(units, kTexts));
}

}  // namespace
}  // namespace shira
