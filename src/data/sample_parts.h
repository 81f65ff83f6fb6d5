// What samples are put together from.
#pragma once

#include <shira/data/dataset.h>

#include <string>
#include <vector>

namespace shira {

/// Appends `ids`; their labels are themselves, or kIgnoreLabel unless `learn`.
void append(Sample& sample, const TokenIds& ids, bool learn);

/// Appends a BOS or EOS; nothing where the tokenizer has none (id -1).
void append_special(Sample& sample, std::int64_t id, bool learn);

/// Appends a prompt, learnt if `learn_prompt`, and its answer, which always is. They are tokenised
/// as one text, so that the boundary is what the model will be asked for.
void append_prompt_and_answer(Sample& sample, const Tokenizer& tokenizer, const std::string& prompt,
                              const std::string& answer, bool learn_prompt);

/// The sample without what is beyond `sequence_len`.
Sample cut(Sample sample, std::int64_t sequence_len);

/// Consecutive windows of `sequence_len` ids, learnt whole; the last one may be shorter, but a
/// single id that is left over predicts nothing and is dropped.
std::vector<Sample> cut_into_windows(const TokenIds& ids, std::int64_t sequence_len);

}  // namespace shira
