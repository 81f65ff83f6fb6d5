// Tokens that are found in a text before the model sees the rest: special ones and added words.
#pragma once

#include "aligned_text.h"
#include "json_component.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

/// As the "added_tokens" of a tokenizer.json have it.
struct AddedToken {
  std::int64_t id = 0;
  std::string content;
  bool single_word = false;  // not next to a letter, digit or underscore
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and behind it
  bool normalized = false;   // looked for in the normalised text
  bool special = false;      // gives no text
};

AddedToken read_added_token(const JsonComponent& component);

/// A part of a text: an added token, or text between them (id -1).
struct AddedPart {
  TextRange range;
  std::int64_t id = -1;
  std::size_t content_end = 0;  // of a token: without the white space that it takes
};

/// Looks for a set of tokens: the leftmost, of those the longest.
class AddedTokenFinder {
 public:
  /// Empty contents are ignored.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  std::vector<AddedPart> split(std::string_view text) const;

 private:
  const AddedToken* longest_at(std::string_view text) const;

  std::vector<AddedToken> tokens_;  // by first byte, the longest first
  std::vector<std::size_t> first_;  // of each byte: where its tokens begin; 257 entries
};

}  // namespace shira
