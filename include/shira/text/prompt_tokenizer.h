// The tokenizer of a diffusion pipeline: prompts as rows of one length.
#pragma once

#include <shira/base/export.h>
#include <shira/text/tokenizer.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace shira {

class SHIRA_API PromptTokenizer {
 public:
  /// Reads a tokenizer directory; `positions` is how many tokens the text encoder takes, and the
  /// length where the directory states no smaller one (model_max_length). IoError as Tokenizer has
  /// it, or where BOS, EOS or padding have no token.
  PromptTokenizer(const std::filesystem::path& directory, std::int64_t positions);

  std::int64_t length() const { return length_; }
  /// BOS, the prompt's tokens as far as they fit, EOS, padding: length() ids. What does not fit is
  /// named in a warning.
  TokenIds encode(const std::string& prompt) const;

 private:
  Tokenizer tokenizer_;
  std::int64_t length_;
  std::int64_t pad_;
};

}  // namespace shira
