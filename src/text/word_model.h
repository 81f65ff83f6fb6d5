// The model of a tokenizer.json: words to tokens.
#pragma once

#include "json_component.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

/// A token of a word and how many bytes of the word it stands for.
struct WordToken {
  std::int32_t id = 0;
  std::uint32_t bytes = 0;
  bool operator==(const WordToken&) const = default;
};

class WordModel {
 public:
  virtual ~WordModel() = default;
  /// Appends the tokens of `word`, which is not empty. Only one thread may be in it.
  virtual void tokenize(std::string_view word, std::vector<WordToken>& out) const = 0;
  virtual std::optional<std::int32_t> id_of(const std::string& piece) const = 0;
  /// The pieces by id; those of no id are empty.
  virtual const std::vector<std::string>& pieces() const = 0;
  /// How many pieces there are: fewer than ids where some have no piece.
  virtual std::int64_t size() const = 0;
  /// A text that is one word may be cut before a character that this begins with, if another
  /// precedes it: no token reaches over such a place. Empty: it may not.
  virtual std::string_view cut_before() const { return {}; }
};

/// `component`: the "model" key. `bytes`: the words are raw bytes, its pieces of GPT-2's alphabet.
std::unique_ptr<WordModel> make_bpe_model(const JsonComponent& component, bool bytes);
std::unique_ptr<WordModel> make_unigram_model(const JsonComponent& component);

}  // namespace shira
