// vocab.json and merges.txt, which GPT-2, CLIP and Qwen2 ship beside or instead of tokenizer.json.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>

namespace shira {

/// tokenizer_config.json, an empty object where there is none; BOS, EOS, padding and unknown token
/// of special_tokens_map.json count first where transformers reads it (the settings do not list all
/// added tokens, as those of today do).
nlohmann::json read_tokenizer_settings(const std::filesystem::path& directory);

/// The tokenizer.json that transformers makes of them, by the class that `settings` (the
/// tokenizer_config.json) names; it gets what the class has without settings. IoError lists the
/// classes that are supported.
nlohmann::json read_vocabulary_files(const std::filesystem::path& directory,
                                     nlohmann::json& settings);

/// The text of a special token of a tokenizer_config.json: a string, or an object with `content`.
/// Empty where it has none.
std::string special_token(const nlohmann::json& settings, const char* key);

}  // namespace shira
