// Text files and instruction files as token sequences with labels.
#pragma once

#include <shira/base/export.h>
#include <shira/data/tokenizer.h>

#include <cstdint>
#include <filesystem>
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

/// A UTF-8 text file, tokenised once without BOS and cut into windows of `sequence_len` tokens; the
/// last, partial one is kept when it has at least two tokens.
SHIRA_API std::vector<Sample> load_text(const std::filesystem::path& path,
                                        const Tokenizer& tokenizer, std::int64_t sequence_len);

struct InstructionOptions {
  std::int64_t sequence_len = 512;  // longer samples are cut at the end
  bool train_on_inputs = false;     // the prompt carries loss too
};

/// Alpaca records {instruction, input (optional), output}, as a JSON list or one object a line, put
/// into the Alpaca template; the answer ends with EOS. IoError names file and record (or line) of a
/// malformed one. Samples whose answer is cut off entirely are left out, with a warning that counts
/// them.
SHIRA_API std::vector<Sample> load_alpaca(const std::filesystem::path& path,
                                          const Tokenizer& tokenizer,
                                          const InstructionOptions& options);

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
