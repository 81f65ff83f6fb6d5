// A checkpoint's tokenizer: tokenizer.json (BPE and Unigram, as HuggingFace's `tokenizers` runs
// it), tokenizer.model (sentencepiece), or vocab.json and merges.txt (CLIP, GPT-2, Qwen2).
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shira {

using TokenIds = std::vector<std::int64_t>;

/// Which special tokens encode adds.
enum class SpecialTokens {
  kNone,
  kModel,  // what the tokenizer's files ask for (LLaMA: BOS only)
};

class SHIRA_API Tokenizer {
 public:
  /// Reads the first that `directory` has of tokenizer.json, tokenizer.model, and vocab.json with
  /// merges.txt; and tokenizer_config.json, if there. IoError when there is none, or for a
  /// component of tokenizer.json that is not supported: it names it. Truncation and padding of a
  /// tokenizer.json are ignored, as transformers has it.
  explicit Tokenizer(const std::filesystem::path& directory);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;

  /// Added and special tokens of a tokenizer.json are found in the text.
  TokenIds encode(std::string_view text, SpecialTokens special = SpecialTokens::kNone) const;
  /// The ids of each of the parts of one text, which is encoded as a whole; a piece that reaches
  /// over several is the last one's.
  std::vector<TokenIds> encode_parts(const std::vector<std::string>& parts) const;
  /// The same of a prompt and its answer.
  std::pair<TokenIds, TokenIds> encode_pair(const std::string& prompt,
                                            const std::string& answer) const;
  /// Control tokens (BOS, EOS) give no text. Error for an id outside the vocabulary.
  std::string decode(const TokenIds& ids) const;
  std::string piece(std::int64_t id) const;
  /// The id of a piece or added token; -1 if there is none.
  std::int64_t id_of(const std::string& piece) const;

  /// Whether SpecialTokens::kModel puts BOS first.
  bool adds_bos() const;
  std::int64_t vocab_size() const;
  std::int64_t bos_id() const;  // -1 where the model has none
  std::int64_t eos_id() const;  // -1 where the model has none

 private:
  struct Model;
  std::unique_ptr<Model> model_;
};

/// Turns ids into text as they come, never splitting a UTF-8 character: what is not complete yet is
/// held back.
class SHIRA_API StreamDecoder {
 public:
  /// `prompt`: the ids before the first pushed one; they decide about leading spaces.
  StreamDecoder(const Tokenizer& tokenizer, TokenIds prompt);

  /// The text that `id` completes; empty while a character is still open.
  std::string push(std::int64_t id);
  /// What is still held back.
  std::string finish();

 private:
  std::string advance(bool complete);

  const Tokenizer& tokenizer_;
  TokenIds ids_;
  std::size_t prefix_ = 0;  // decoding starts here
  std::size_t read_ = 0;    // text up to here has been given out
};

}  // namespace shira
