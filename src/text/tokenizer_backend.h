// What a Tokenizer stands on: sentencepiece's library, or the pipeline of a tokenizer.json.
#pragma once

#include <shira/text/tokenizer.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

/// A token of an encoded text, and where in the text the last character begins that it stands for.
struct TracedToken {
  std::int64_t id = 0;
  std::size_t last = 0;
};

class TokenizerBackend {
 public:
  virtual ~TokenizerBackend() = default;

  /// Without what frames a text.
  virtual TokenIds encode(std::string_view text) const = 0;
  virtual std::vector<TracedToken> encode_traced(std::string_view text) const = 0;
  /// Ids are in the vocabulary; control tokens give no text.
  virtual std::string decode(const TokenIds& ids) const = 0;
  virtual std::string piece(std::int64_t id) const = 0;
  virtual std::int64_t vocab_size() const = 0;
  /// The id of a piece; -1 if there is none.
  virtual std::int64_t id_of(const std::string& piece) const = 0;
  /// The model's own; -1 where only tokenizer_config.json names them.
  virtual std::int64_t bos_id() const { return -1; }
  virtual std::int64_t eos_id() const { return -1; }
  /// What the model's own settings put before and after a text.
  virtual TokenIds prefix() const = 0;
  virtual TokenIds suffix() const = 0;
};

}  // namespace shira
