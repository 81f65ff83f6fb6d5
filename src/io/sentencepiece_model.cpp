// A reader of protobuf's wire format (protobuf.dev/programming-guides/encoding), as much as the
// fields in question need, and a walk over darts-clone's double arrays. Field numbers are those of
// sentencepiece_model.proto; a field that occurs twice is checked twice.
#include "sentencepiece_model.h"

#include <shira/base/error.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace shira::detail {
namespace {

constexpr std::size_t kLongestPiece = 4096;    // building its trie recurses once a byte
constexpr std::size_t kMostNestedPieces = 64;  // PrefixMatcher::PrefixMatch's array of results
constexpr int kMostNestedRules = 32;           // Normalizer::kMaxTrieResultsSize, likewise

// --- Protobuf -----------------------------------------------------------------------------------

struct Field {
  std::uint64_t number = 0;
  std::uint64_t value = 0;  // of a varint
  std::string_view bytes;   // of everything else
};

/// The fields of a message, one after the other.
class Message {
 public:
  explicit Message(std::string_view bytes) : rest_(bytes) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const std::uint64_t tag = varint();
    field = {tag >> 3, 0, {}};
    switch (tag & 7) {
      case 0: field.value = varint(); break;
      case 1: field.bytes = take(8); break;
      case 2: field.bytes = take(varint()); break;
      case 5: field.bytes = take(4); break;
      default: throw IoError("has a protobuf field of an unknown kind");
    }
    return true;
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<std::uint8_t>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw IoError("has a protobuf number that does not end");
  }

  std::string_view take(std::uint64_t size) {
    SHIRA_CHECK(IoError, size <= rest_.size(), "ends within a protobuf field");
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }

  std::string_view rest_;
};

// --- Pieces -------------------------------------------------------------------------------------

/// Collects the pieces that are user-defined symbols.
void check_piece(std::string_view message, std::vector<std::string_view>& user_defined) {
  constexpr std::uint32_t kUserDefined = 4;
  std::string_view text;
  bool is_user_defined = false;
  Message piece(message);
  for (Field field; piece.next(field);) {
    if (field.number == 1) text = field.bytes;
    if (field.number == 3 && static_cast<std::uint32_t>(field.value) == kUserDefined) {
      is_user_defined = true;
    }
    SHIRA_CHECK(IoError, text.size() <= kLongestPiece, "has a piece of ", text.size(),
                " bytes; at most ", kLongestPiece, " are supported");
    SHIRA_CHECK(IoError, text.find('\0') == text.npos, "has a piece with a zero byte");
  }
  if (is_user_defined) user_defined.push_back(text);
}

/// At most kMostNestedPieces begin with each other: in sorted order, a text's prefixes precede it.
void check_nesting(std::vector<std::string_view> texts) {
  std::ranges::sort(texts);
  std::vector<std::string_view> prefixes;
  for (const std::string_view text : texts) {
    while (!prefixes.empty() && !text.starts_with(prefixes.back())) prefixes.pop_back();
    prefixes.push_back(text);
    SHIRA_CHECK(IoError, prefixes.size() <= kMostNestedPieces, "has more than ", kMostNestedPieces,
                " user-defined symbols that begin with each other");
  }
}

// --- Character maps -----------------------------------------------------------------------------

/// A unit of darts-clone's double array.
struct Unit {
  std::uint32_t bits;

  bool has_value() const { return (bits >> 8 & 1) != 0; }
  std::uint32_t value() const { return bits & 0x7fffffff; }
  std::uint32_t label() const { return bits & 0x800000ff; }
  std::uint32_t offset() const { return (bits >> 10) << ((bits & (1U << 9)) >> 6); }
};

/// Follows every path from the root, counting the values on it; a place is visited again only when
/// it is reached with more of them, which ends loops.
class TrieCheck {
 public:
  TrieCheck(std::vector<Unit> units, std::size_t text_size)
      : units_(std::move(units)), text_size_(text_size), most_values_(units_.size(), -1) {}

  void run() {
    SHIRA_CHECK(IoError, !units_.empty(), "has a character map without a trie");
    reach(units_[0].offset(), 0);
    while (!open_.empty()) {
      const std::uint32_t place = open_.back();
      open_.pop_back();
      for (std::uint32_t byte = 0; byte < 256; ++byte) follow(place ^ byte, byte, place);
    }
  }

 private:
  void follow(std::uint32_t at, std::uint32_t byte, std::uint32_t place) {
    const Unit unit = units_[at];
    if (unit.label() != byte) return;
    const std::uint32_t next = at ^ unit.offset();
    reach(next, most_values_[place] + (unit.has_value() ? 1 : 0));
    SHIRA_CHECK(IoError, !unit.has_value() || units_[next].value() < text_size_,
                "has a character map whose rules reach outside of its texts");
  }

  /// All that a search may read from `place` on is in one block of 256 units.
  void reach(std::uint32_t place, int values) {
    SHIRA_CHECK(IoError, (place | 0xff) < units_.size(),
                "has a character map whose trie reaches outside of it");
    SHIRA_CHECK(IoError, values <= kMostNestedRules, "has a character map with more than ",
                kMostNestedRules, " rules that begin with each other");
    if (values <= most_values_[place]) return;
    most_values_[place] = values;
    open_.push_back(place);
  }

  std::vector<Unit> units_;
  std::size_t text_size_;
  std::vector<int> most_values_;  // on a path to each place; -1 = not reached
  std::vector<std::uint32_t> open_;
};

/// <size of the trie in bytes, uint32><trie><texts, each ending in a zero byte>
void check_character_map(std::string_view map) {
  std::uint32_t size = 0;
  SHIRA_CHECK(IoError, map.size() > sizeof(size), "has a character map that is too short");
  std::memcpy(&size, map.data(), sizeof(size));
  map.remove_prefix(sizeof(size));
  SHIRA_CHECK(IoError, size < map.size() && size % sizeof(Unit) == 0 && map.back() == '\0',
              "has a character map of the wrong size");
  std::vector<Unit> units(size / sizeof(Unit));
  if (!units.empty()) std::memcpy(units.data(), map.data(), size);
  TrieCheck(std::move(units), map.size() - size).run();
}

void check_normalizer(std::string_view message) {
  Message normalizer(message);
  for (Field field; normalizer.next(field);) {
    if (field.number == 2 && !field.bytes.empty()) check_character_map(field.bytes);
  }
}

}  // namespace

void check_sentencepiece_model(std::string_view model) {
  std::vector<std::string_view> user_defined;
  Message message(model);
  for (Field field; message.next(field);) {
    if (field.number == 1) check_piece(field.bytes, user_defined);
    if (field.number == 3 || field.number == 5) check_normalizer(field.bytes);  // 5: of decoding
  }
  check_nesting(std::move(user_defined));
}

}  // namespace shira::detail
