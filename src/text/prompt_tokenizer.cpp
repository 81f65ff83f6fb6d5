// As transformers' tokenizers do with padding="max_length", truncation=True.
#include "vocabulary_files.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/io/atomic_file.h>
#include <shira/text/prompt_tokenizer.h>

#include <nlohmann/json.hpp>

#include <algorithm>

namespace shira {
namespace {

namespace fs = std::filesystem;

nlohmann::json settings_of(const fs::path& file) {
  if (!fs::exists(file)) return nlohmann::json::object();
  auto settings = nlohmann::json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  SHIRA_CHECK(IoError, settings.is_object(), file.string(), ": not a JSON object.");
  return settings;
}

/// As transformers fills up the settings: tokenizer_config.json first.
std::string pad_token(const fs::path& directory) {
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    std::string token = special_token(settings_of(directory / name), "pad_token");
    if (!token.empty()) return token;
  }
  return "<|endoftext|>";
}

std::int64_t row_length(const fs::path& directory, std::int64_t positions) {
  const auto settings = settings_of(directory / "tokenizer_config.json");
  const auto length = settings.find("model_max_length");
  const bool is_given = length != settings.end() && length->is_number();
  const double given = is_given ? length->get<double>() : static_cast<double>(positions);
  SHIRA_CHECK(IoError, given >= 2.0, (directory / "tokenizer_config.json").string(),
              ": model_max_length is ", given, ", expected at least 2: BOS and EOS.");
  return given < static_cast<double>(positions) ? static_cast<std::int64_t>(given) : positions;
}

}  // namespace

PromptTokenizer::PromptTokenizer(const fs::path& directory, std::int64_t positions)
    : tokenizer_(directory),
      length_(row_length(directory, positions)),
      pad_(tokenizer_.id_of(pad_token(directory))) {
  SHIRA_CHECK(IoError, tokenizer_.bos_id() >= 0 && tokenizer_.eos_id() >= 0 && pad_ >= 0,
              directory.string(), ": the tokenizer lacks ",
              tokenizer_.bos_id() < 0   ? "bos_token"
              : tokenizer_.eos_id() < 0 ? "eos_token"
                                        : "pad_token",
              ". Is it the tokenizer of a text encoder (CLIP)?");
}

TokenIds PromptTokenizer::encode(const std::string& prompt) const {
  TokenIds ids = tokenizer_.encode(prompt);
  const auto room = static_cast<std::size_t>(length_ - 2);
  if (ids.size() > room) {
    const auto end = ids.begin() + static_cast<std::ptrdiff_t>(room);
    log_warning(detail::concat(
        "a prompt is longer than the text encoder's ", length_,
        " tokens; this part of it is left out: ", tokenizer_.decode({end, ids.end()})));
    ids.resize(room);
  }
  ids.insert(ids.begin(), tokenizer_.bos_id());
  ids.push_back(tokenizer_.eos_id());
  ids.resize(static_cast<std::size_t>(length_), pad_);
  return ids;
}

}  // namespace shira
