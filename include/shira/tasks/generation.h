// Text generation with a key/value cache.
#pragma once

#include <shira/base/export.h>
#include <shira/models/llama.h>
#include <shira/text/tokenizer.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

struct GenerateOptions {
  std::int64_t max_new_tokens = 128;
  double temperature = 0.0;  // 0 = greedy
  std::int64_t top_k = 0;    // 0 = off: sample among the k most likely tokens
  double top_p = 1.0;        // 1 = off: among the most likely tokens that reach this probability
  /// 1 = off: the score of every token of prompt and continuation is divided by it (multiplied
  /// where negative), before temperature (Keskar et al. 2019).
  double repetition_penalty = 1.0;
  std::uint64_t seed = 0;
  /// A chat template (chat_template.h): a prompt is a user's message, and the answer ends with the
  /// template's end. Empty: a prompt is text to be continued.
  std::string chat_template = "";
  std::optional<std::string> system = {};  // with chat_template: the system's message
  std::vector<std::string> stop = {};      // generation ends before the first of these texts
  /// Called with each piece of a single prompt's text as it is complete; never splits a UTF-8
  /// character.
  std::function<void(std::string_view)> on_text = nullptr;
};

struct Generated {
  std::string text;           // the continuation, without the stop text
  TokenIds ids;               // the new tokens, the end-of-sequence token excluded
  std::string finish_reason;  // stop: EOS or a stop text | length
  std::int64_t prompt_tokens = 0;
};

/// Continues `prompt` (encoded with the model's special tokens). Ends at an EOS id of the config, a
/// stop text, or max_new_tokens. Ids that the tokenizer does not have are never written. Error for
/// a prompt of no tokens.
SHIRA_API Generated generate(Llama& model, const Tokenizer& tokenizer, const std::string& prompt,
                             const GenerateOptions& options = {});

/// Continues all `prompts` together, each as `generate` would alone: it ends on its own, and prompt
/// number i has the random stream of (seed, i). ConfigError for on_text with several prompts.
SHIRA_API std::vector<Generated> generate_batch(Llama& model, const Tokenizer& tokenizer,
                                                const std::vector<std::string>& prompts,
                                                const GenerateOptions& options = {});

/// `logits` (vocabulary), in at least float32, with the scores of the ids in `seen` divided by
/// `penalty` where positive and multiplied where negative, each once (as transformers does).
SHIRA_API torch::Tensor penalize_repetition(const torch::Tensor& logits, const TokenIds& seen,
                                            double penalty);

/// Chooses a token from the logits (vocabulary): temperature, then top-k, then top-p, as
/// transformers orders them; `uniform` in [0, 1) decides.
SHIRA_API std::int64_t sample_token(const torch::Tensor& logits, const GenerateOptions& options,
                                    double uniform);

}  // namespace shira
