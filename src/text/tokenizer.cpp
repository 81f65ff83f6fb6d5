// The only file that knows sentencepiece. Its normaliser flags live in tokenizer.model and are
// honoured by the library itself.
#include "io/sentencepiece_model.h"

#include <shira/base/error.h>
#include <shira/data/tokenizer.h>
#include <shira/io/atomic_file.h>

#include <nlohmann/json.hpp>
#include <sentencepiece_processor.h>

namespace shira {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD: an incomplete character

void check_tokenizer_file(const std::filesystem::path& directory) {
  if (std::filesystem::is_regular_file(directory / "tokenizer.model")) return;
  SHIRA_CHECK(IoError, std::filesystem::is_directory(directory), "'", directory.string(),
              "': no such checkpoint directory. Give a local HuggingFace directory; `hf download "
              "ORG/NAME --local-dir DIR` fetches one.");
  SHIRA_CHECK(IoError, !std::filesystem::exists(directory / "tokenizer.json"), directory.string(),
              ": only a tokenizer.json is here. Supported: sentencepiece tokenizers "
              "(tokenizer.model, as LLaMA 1 and 2 ship them). If the model has one, download its "
              "tokenizer.model into this directory.");
  throw IoError(directory.string() + ": no tokenizer.model. Supported: sentencepiece tokenizers.");
}

/// The bytes of tokenizer.model, checked to be safe for sentencepiece.
std::string read_model(const std::filesystem::path& path) {
  std::string model = read_file(path);
  try {
    detail::check_sentencepiece_model(model);
  } catch (const IoError& error) {
    throw IoError(
        detail::concat(path.string(), ": not a sentencepiece model: ", error.what(), "."));
  }
  return model;
}

bool flag(const nlohmann::json& config, const char* key, bool fallback) {
  return config.contains(key) && config[key].is_boolean() ? config[key].get<bool>() : fallback;
}

}  // namespace

struct Tokenizer::Model {
  sentencepiece::SentencePieceProcessor processor;
  bool add_bos = true;
  bool add_eos = false;
};

Tokenizer::Tokenizer(const std::filesystem::path& directory) : model_(std::make_unique<Model>()) {
  check_tokenizer_file(directory);
  const auto path = directory / "tokenizer.model";
  const auto status = model_->processor.LoadFromSerializedProto(read_model(path));
  SHIRA_CHECK(IoError, status.ok(), path.string(),
              ": not a sentencepiece model: ", status.ToString(), ".");
  if (!std::filesystem::exists(directory / "tokenizer_config.json")) return;
  const std::string text = read_file(directory / "tokenizer_config.json");
  const auto config = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  SHIRA_CHECK(IoError, config.is_object(), (directory / "tokenizer_config.json").string(),
              ": not a JSON object.");
  model_->add_bos = flag(config, "add_bos_token", true);
  model_->add_eos = flag(config, "add_eos_token", false);
}

Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

TokenIds Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  const std::vector<int> encoded = model_->processor.EncodeAsIds({text.data(), text.size()});
  TokenIds ids;
  ids.reserve(encoded.size() + 2);
  const bool specials = special == SpecialTokens::kModel;
  if (specials && adds_bos()) ids.push_back(bos_id());
  ids.insert(ids.end(), encoded.begin(), encoded.end());
  if (specials && model_->add_eos && eos_id() >= 0) ids.push_back(eos_id());
  return ids;
}

std::pair<TokenIds, TokenIds> Tokenizer::encode_pair(const std::string& prompt,
                                                     const std::string& answer) const {
  const std::string text = prompt + answer;
  const auto encoded = model_->processor.EncodeAsImmutableProto(text);
  std::pair<TokenIds, TokenIds> ids;
  bool in_answer = false;
  for (std::size_t i = 0; i < encoded.pieces_size(); ++i) {
    const auto piece = encoded.pieces(i);
    // All but the last of a character's byte pieces are empty: they begin where the character does.
    in_answer = in_answer || piece.begin() >= prompt.size() || piece.end() > prompt.size();
    (in_answer ? ids.second : ids.first).push_back(piece.id());
  }
  return ids;
}

std::string Tokenizer::decode(const TokenIds& ids) const {
  std::vector<int> narrow;
  narrow.reserve(ids.size());
  for (std::int64_t id : ids) {
    SHIRA_CHECK(Error, id >= 0 && id < vocab_size(), "[Tokenizer::decode] id ", id,
                " is not in the vocabulary of ", vocab_size(), ".");
    narrow.push_back(static_cast<int>(id));
  }
  return model_->processor.DecodeIds(narrow);
}

std::string Tokenizer::piece(std::int64_t id) const {
  SHIRA_CHECK(Error, id >= 0 && id < vocab_size(), "[Tokenizer::piece] id ", id,
              " is not in the vocabulary of ", vocab_size(), ".");
  return model_->processor.IdToPiece(static_cast<int>(id));
}

bool Tokenizer::adds_bos() const { return model_->add_bos && bos_id() >= 0; }
std::int64_t Tokenizer::vocab_size() const { return model_->processor.GetPieceSize(); }
std::int64_t Tokenizer::bos_id() const { return model_->processor.bos_id(); }
std::int64_t Tokenizer::eos_id() const { return model_->processor.eos_id(); }

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
