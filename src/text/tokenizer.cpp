// Chooses what a checkpoint's tokenizer stands on and adds what tokenizer_config.json says.
#include "io/json_object.h"
#include "json_tokenizer.h"
#include "sentencepiece_backend.h"
#include "vocabulary_files.h"

#include <shira/base/error.h>
#include <shira/text/tokenizer.h>

#include <nlohmann/json.hpp>

namespace shira {
namespace {

using nlohmann::json;

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD: an incomplete character

/// tokenizer.json first, as transformers' fast tokenizers do: it alone has all added tokens.
std::unique_ptr<TokenizerBackend> load_backend(const std::filesystem::path& directory,
                                               json& settings) {
  const auto has = [&](const char* name) { return std::filesystem::exists(directory / name); };
  const auto file = directory / "tokenizer.json";
  if (has("tokenizer.json"))
    return make_json_tokenizer(detail::read_json_object(file), file.string());
  if (has("tokenizer.model")) return load_sentencepiece(directory / "tokenizer.model");
  if (has("vocab.json") && has("merges.txt")) {
    return make_json_tokenizer(read_vocabulary_files(directory, settings),
                               (directory / "vocab.json").string());
  }
  SHIRA_CHECK(IoError, std::filesystem::is_directory(directory), "'", directory.string(),
              "': no such checkpoint directory. Give a local HuggingFace directory; `hf download "
              "ORG/NAME --local-dir DIR` fetches one.");
  throw IoError(directory.string() +
                ": no tokenizer. Expected tokenizer.json, tokenizer.model (sentencepiece), or "
                "vocab.json and merges.txt.");
}

/// An end of a text's frame, and what tokenizer_config.json calls it.
struct End {
  const char* flag;   // add_bos_token
  const char* token;  // bos_token
  bool is_front;
};

/// The settings' flag decides whether `token` stands there; without it the model's own settings do.
void apply_flag(const json& settings, const End& end, std::int64_t token,
                const std::filesystem::path& file, TokenIds& frame) {
  const auto flag = settings.find(end.flag);
  if (flag == settings.end() || !flag->is_boolean()) return;
  if (token >= 0) std::erase(frame, token);
  if (!flag->get<bool>()) return;
  SHIRA_CHECK(IoError, token >= 0, file.string(), ": ", end.flag, " is true, but ", end.token, " '",
              special_token(settings, end.token), "' is not in the vocabulary.");
  frame.insert(end.is_front ? frame.begin() : frame.end(), token);
}

}  // namespace

struct Tokenizer::Model {
  std::unique_ptr<TokenizerBackend> backend;
  std::int64_t bos = -1;
  std::int64_t eos = -1;
  TokenIds prefix;
  TokenIds suffix;
};

Tokenizer::Tokenizer(const std::filesystem::path& directory) : model_(std::make_unique<Model>()) {
  const auto settings_file = directory / "tokenizer_config.json";
  json settings = read_tokenizer_settings(directory);
  model_->backend = load_backend(directory, settings);
  const TokenizerBackend& backend = *model_->backend;
  const auto id = [&](const char* key, std::int64_t otherwise) {
    const std::string token = special_token(settings, key);
    const std::int64_t found = token.empty() ? -1 : backend.id_of(token);
    return found >= 0 ? found : otherwise;
  };
  model_->bos = id("bos_token", backend.bos_id());
  model_->eos = id("eos_token", backend.eos_id());
  model_->prefix = backend.prefix();
  model_->suffix = backend.suffix();
  const End front{"add_bos_token", "bos_token", true}, back{"add_eos_token", "eos_token", false};
  apply_flag(settings, front, model_->bos, settings_file, model_->prefix);
  apply_flag(settings, back, model_->eos, settings_file, model_->suffix);
}

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

TokenIds Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  TokenIds ids = model_->backend->encode(text);
  if (special == SpecialTokens::kNone) return ids;
  ids.insert(ids.begin(), model_->prefix.begin(), model_->prefix.end());
  ids.insert(ids.end(), model_->suffix.begin(), model_->suffix.end());
  return ids;
}

std::vector<TokenIds> Tokenizer::encode_parts(const std::vector<std::string>& parts) const {
  std::string text;
  std::vector<std::size_t> ends;
  for (const std::string& part : parts) {
    text += part;
    ends.push_back(text.size());
  }
  std::vector<TokenIds> ids(parts.size());
  std::size_t current = 0;
  for (const TracedToken& token : model_->backend->encode_traced(text)) {
    while (current + 1 < parts.size() && token.last >= ends[current]) ++current;
    ids[current].push_back(token.id);
  }
  return ids;
}

std::pair<TokenIds, TokenIds> Tokenizer::encode_pair(const std::string& prompt,
                                                     const std::string& answer) const {
  std::vector<TokenIds> ids = encode_parts({prompt, answer});
  return {std::move(ids[0]), std::move(ids[1])};
}

std::string Tokenizer::decode(const TokenIds& ids) const {
  for (const std::int64_t id : ids) {
    SHIRA_CHECK(Error, id >= 0 && id < vocab_size(), "[Tokenizer::decode] id ", id,
                " is not in the vocabulary of ", vocab_size(), ".");
  }
  return model_->backend->decode(ids);
}

std::string Tokenizer::piece(std::int64_t id) const {
  SHIRA_CHECK(Error, id >= 0 && id < vocab_size(), "[Tokenizer::piece] id ", id,
              " is not in the vocabulary of ", vocab_size(), ".");
  return model_->backend->piece(id);
}

std::int64_t Tokenizer::id_of(const std::string& piece) const {
  return model_->backend->id_of(piece);
}

bool Tokenizer::adds_bos() const {
  return bos_id() >= 0 && !model_->prefix.empty() && model_->prefix.front() == bos_id();
}
std::int64_t Tokenizer::vocab_size() const { return model_->backend->vocab_size(); }
std::int64_t Tokenizer::bos_id() const { return model_->bos; }
std::int64_t Tokenizer::eos_id() const { return model_->eos; }

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, TokenIds prompt)
    : tokenizer_(tokenizer), ids_(std::move(prompt)), read_(ids_.size()) {}

std::string StreamDecoder::push(std::int64_t id) {
  ids_.push_back(id);
  return advance(/*complete=*/false);
}

std::string StreamDecoder::finish() { return advance(/*complete=*/true); }

/// Decodes from a little before the new ids (spaces depend on what precedes) and gives out what the
/// earlier text did not have.
std::string StreamDecoder::advance(bool complete) {
  const auto begin = ids_.begin() + static_cast<std::ptrdiff_t>(prefix_);
  const auto middle = ids_.begin() + static_cast<std::ptrdiff_t>(read_);
  const std::string before = tokenizer_.decode({begin, middle});
  const std::string after = tokenizer_.decode({begin, ids_.end()});
  const bool open = after.ends_with(kReplacement) && !complete;
  if (open || after.size() <= before.size()) return "";
  prefix_ = read_;
  read_ = ids_.size();
  return after.substr(before.size());
}

}  // namespace shira
