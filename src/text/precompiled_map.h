// sentencepiece's compiled normalisation rules, as Unigram models carry them.
#pragma once

#include "aligned_text.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

class PrecompiledMap {
 public:
  /// `encoded`: base64 of the size of a double-array trie, the trie, and the replacements, each
  /// with a zero behind it. IoError if it is none.
  explicit PrecompiledMap(const std::string& encoded);

  /// Rewrites what has a rule: whole grapheme clusters of less than 6 bytes, else characters.
  AlignedText apply(const AlignedText& text) const;

 private:
  /// The rule of the shortest prefix of `chunk` that has one.
  std::optional<std::string_view> find(std::string_view chunk) const;

  std::vector<std::uint32_t> trie_;
  std::string replacements_;
};

}  // namespace shira
