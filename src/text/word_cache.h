// Tokens of the words seen last: most words of a text have occurred before.
#pragma once

#include "word_model.h"

#include <array>
#include <cstddef>
#include <cstring>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace shira {

/// One slot a hash, the newest word wins: no lists, no allocation. A slot is two cache lines.
class WordCache {
 public:
  static constexpr std::size_t kBytes = 46;
  static constexpr std::size_t kTokens = 10;

  /// The tokens of `word`, if it is the last one that was put in its slot.
  std::span<const WordToken> find(std::string_view word) const {
    if (word.size() > kBytes) return {};
    const Slot& slot = slots_[slot_of(word)];
    const bool same =
        slot.size == word.size() && std::memcmp(slot.word.data(), word.data(), word.size()) == 0;
    return same ? std::span(slot.tokens).first(slot.count) : std::span<const WordToken>();
  }

  void put(std::string_view word, std::span<const WordToken> tokens) {
    if (word.size() > kBytes || tokens.size() > kTokens || tokens.empty()) return;
    Slot& slot = slots_[slot_of(word)];
    slot.size = static_cast<std::uint8_t>(word.size());
    slot.count = static_cast<std::uint8_t>(tokens.size());
    std::memcpy(slot.word.data(), word.data(), word.size());
    std::memcpy(slot.tokens.data(), tokens.data(), tokens.size_bytes());
  }

 private:
  static constexpr std::size_t kSlots = 1 << 14;
  struct Slot {
    std::uint8_t size = 0;
    std::uint8_t count = 0;
    std::array<char, kBytes> word{};
    std::array<WordToken, kTokens> tokens{};
  };
  static_assert(sizeof(Slot) == 128);

  static std::size_t slot_of(std::string_view word) {
    return std::hash<std::string_view>()(word) % kSlots;
  }

  std::vector<Slot> slots_ = std::vector<Slot>(kSlots);
};

}  // namespace shira
