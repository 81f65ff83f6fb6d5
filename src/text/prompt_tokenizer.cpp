// As transformers' tokenizers do with padding="max_length", truncation=True.
#include "vocabulary_files.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/text/prompt_tokenizer.h>

#include <nlohmann/json.hpp>

#include <algorithm>

namespace shira {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string pad_token(const json& settings) {
  const std::string token = special_token(settings, "pad_token");
  return token.empty() ? "<|endoftext|>" : token;  // as transformers' CLIPTokenizer has it
}

std::int64_t row_length(const fs::path& directory, const json& settings, std::int64_t positions) {
  const auto length = settings.find("model_max_length");
  const bool is_given = length != settings.end() && length->is_number();
  const auto limit = static_cast<double>(positions);
  const double shorter = is_given ? std::min(length->get<double>(), limit) : limit;
  SHIRA_CHECK(IoError, shorter >= 2.0, directory.string(), ": rows of ", shorter,
              " tokens (the smaller of model_max_length in tokenizer_config.json and of the text "
              "encoder's positions), expected at least 2: BOS and EOS.");
  return static_cast<std::int64_t>(shorter);
}

/// The ids as text; CLIP's pieces at the end of a word say so.
std::string text_of(const Tokenizer& tokenizer, const TokenIds& ids) {
  constexpr std::string_view kEndOfWord = "</w>";
  std::string text = tokenizer.decode(ids);
  for (std::size_t at = text.find(kEndOfWord); at != std::string::npos;
       at = text.find(kEndOfWord, at)) {
    text.replace(at, kEndOfWord.size(), at + kEndOfWord.size() < text.size() ? " " : "");
  }
  return text;
}

}  // namespace

PromptTokenizer::PromptTokenizer(const fs::path& directory, std::int64_t positions)
    : tokenizer_(directory) {
  const json settings = read_tokenizer_settings(directory);
  const std::string pad = pad_token(settings);
  length_ = row_length(directory, settings, positions);
  pad_ = tokenizer_.id_of(pad);
  SHIRA_CHECK(IoError, tokenizer_.bos_id() >= 0 && tokenizer_.eos_id() >= 0 && pad_ >= 0,
              directory.string(), ": the tokenizer lacks ",
              tokenizer_.bos_id() < 0   ? "a bos_token"
              : tokenizer_.eos_id() < 0 ? "an eos_token"
                                        : "its pad_token '" + pad + "'",
              ". Is it the tokenizer of a text encoder (CLIP)?");
}

TokenIds PromptTokenizer::encode(const std::string& prompt) const {
  TokenIds ids = tokenizer_.encode(prompt);
  const auto room = static_cast<std::size_t>(length_ - 2);
  if (ids.size() > room) {
    const auto end = ids.begin() + static_cast<std::ptrdiff_t>(room);
    log_warning(detail::concat(
        "a prompt is longer than the text encoder's ", length_,
        " tokens; this part of it is left out: ", text_of(tokenizer_, {end, ids.end()})));
    ids.resize(room);
  }
  ids.insert(ids.begin(), tokenizer_.bos_id());
  ids.push_back(tokenizer_.eos_id());
  ids.resize(static_cast<std::size_t>(length_), pad_);
  return ids;
}

}  // namespace shira
