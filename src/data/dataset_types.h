// What the records of each type become.
#pragma once

#include <shira/data/dataset.h>

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <vector>

namespace shira {

/// A text file, tokenised once without BOS.
std::vector<Sample> load_text(const std::filesystem::path& path, const Tokenizer& tokenizer,
                              const DatasetOptions& options);

// Samples of one record; IoError, without saying where, for one that cannot be used.
std::vector<Sample> completion_samples(const nlohmann::json& record, const Tokenizer& tokenizer,
                                       const DatasetOptions& options);
std::vector<Sample> alpaca_samples(const nlohmann::json& record, const Tokenizer& tokenizer,
                                   const DatasetOptions& options);
std::vector<Sample> messages_samples(const nlohmann::json& record, const Tokenizer& tokenizer,
                                     const DatasetOptions& options);
std::vector<Sample> sharegpt_samples(const nlohmann::json& record, const Tokenizer& tokenizer,
                                     const DatasetOptions& options);

}  // namespace shira
