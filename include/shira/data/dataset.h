// Files of text, instructions and conversations as token sequences with labels.
#pragma once

#include <shira/base/export.h>
#include <shira/text/tokenizer.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace shira {

/// Label of a position that carries no loss (transformers' ignore index).
inline constexpr std::int64_t kIgnoreLabel = -100;

/// One training sequence: labels are the ids themselves, or kIgnoreLabel; the objective shifts
/// them.
struct Sample {
  TokenIds ids;
  TokenIds labels;
};

struct DatasetOptions {
  std::int64_t sequence_len = 512;
  bool train_on_inputs = false;           // prompts carry loss too
  std::string chat_template = "llama-2";  // of messages and sharegpt
};

/// The samples of a UTF-8 file, by its type:
/// - text: any text, tokenised once without BOS and cut into windows of sequence_len.
/// - completion: records {text}; BOS + text + EOS, cut into windows.
/// - alpaca: records {instruction, input (optional), output}; BOS + prompt + output + EOS.
/// - messages, sharegpt: records {messages: [{role, content}, ...]} or {conversations: [{from,
///   value}, ...]}, put into the chat template (chat_template.h).
///
/// Records are a JSON list, or one object a line. Text and completion carry loss everywhere but on
/// a window's first token, the others on the answers and their EOS. What is longer than
/// sequence_len is cut off, or the next window; a sample without anything to learn is left out,
/// with a warning that counts them. IoError lists the records that cannot be used, by line;
/// ConfigError lists the known types.
SHIRA_API std::vector<Sample> load_dataset(const std::string& type,
                                           const std::filesystem::path& path,
                                           const Tokenizer& tokenizer,
                                           const DatasetOptions& options);

/// The Alpaca template's prompt, up to and including "### Response:\n".
SHIRA_API std::string alpaca_prompt(const std::string& instruction, const std::string& input);

/// A data set of a run.
struct SampleSet {
  std::vector<Sample> samples;
  double weight = 1.0;  // how often an epoch takes each sample; 0.5: half of them, drawn anew
};

struct DatasetSplit {
  std::vector<SampleSet> train;
  std::vector<Sample> validation;
};

/// Takes `val_set_size` samples (below 1: that share, at least one; from 1: that many) out for
/// validation, chosen by `seed` from those of all sets. ConfigError when nothing would be left to
/// train on.
SHIRA_API DatasetSplit split_datasets(std::vector<SampleSet> sets, double val_set_size,
                                      std::uint64_t seed);

}  // namespace shira
