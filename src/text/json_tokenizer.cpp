// A text is cut at added tokens, each part normalised, cut into words, and the words into tokens.
#include "json_tokenizer.h"

#include "added_tokens.h"
#include "normalizers.h"
#include "pre_tokenizers.h"
#include "token_decoders.h"
#include "utf8.h"
#include "word_cache.h"
#include "word_model.h"

#include <algorithm>
#include <mutex>
#include <set>
#include <unordered_map>

namespace shira {
namespace {

using nlohmann::json;

// --- post-processor -----------------------------------------------------------------------------

/// What is put before and after a text.
struct Frame {
  TokenIds prefix;
  TokenIds suffix;
};

Frame read_frame(const JsonComponent& component);

/// ["A" and special tokens]: what stands before and after the text itself.
Frame read_template(const JsonComponent& component) {
  Frame frame;
  bool after = false;
  for (const JsonComponent& item : component.at("single").list()) {
    if (!item.is_null("Sequence")) {
      item.require(!after, "a second Sequence in a template of one text");
      item.require(item.at("Sequence").get<std::string>("id", "A") == "A",
                   "a template of one text has the Sequence A");
      after = true;
      continue;
    }
    const auto name = item.at("SpecialToken").get<std::string>("id");
    const JsonComponent ids = component.at("special_tokens").at(name.c_str()).at("ids");
    for (const JsonComponent& id : ids.list()) {
      (after ? frame.suffix : frame.prefix).push_back(id.as<std::int64_t>());
    }
  }
  component.require(after, "a template without the text");
  return frame;
}

/// RobertaProcessing and BertProcessing: [token, id].
Frame read_cls_and_sep(const JsonComponent& component) {
  const auto id = [&](const char* key) {
    const std::vector<JsonComponent> pair = component.at(key).list();
    component.require(pair.size() == 2, std::string(key) + ": expected a token and its id");
    return pair[1].as<std::int64_t>();
  };
  return {{id("cls")}, {id("sep")}};
}

Frame read_frames(const JsonComponent& component) {
  Frame frame;
  for (const JsonComponent& step : component.at("processors").list()) {
    Frame found = read_frame(step);
    if (found.prefix.empty() && found.suffix.empty()) continue;
    step.require(frame.prefix.empty() && frame.suffix.empty(),
                 "a second step that adds tokens is not supported");
    frame = std::move(found);
  }
  return frame;
}

/// ByteLevel: about offsets alone.
Frame no_frame(const JsonComponent& /*component*/) { return {}; }

Frame read_frame(const JsonComponent& component) {
  static const std::map<std::string, Frame (*)(const JsonComponent&)> table = {
      {"TemplateProcessing", read_template},
      {"RobertaProcessing", read_cls_and_sep},
      {"BertProcessing", read_cls_and_sep},
      {"Sequence", read_frames},
      {"ByteLevel", no_frame}};
  return component.choose(table)(component);
}

// --- the tokenizer ------------------------------------------------------------------------------

std::unique_ptr<WordModel> make_model(const JsonComponent& component, bool bytes) {
  const auto type = component.get<std::string>("type", "BPE");  // files of before 2021 have none
  component.require(type == "BPE" || type == "Unigram",
                    "'" + type + "' is not supported. Supported: BPE, Unigram");
  component.require(type == "BPE" || !bytes, "Unigram over bytes (ByteLevel) is not supported");
  return type == "BPE" ? make_bpe_model(component, bytes) : make_unigram_model(component);
}

class JsonTokenizer : public TokenizerBackend {
 public:
  explicit JsonTokenizer(const JsonComponent& root);

  TokenIds encode(std::string_view text) const override;
  std::vector<TracedToken> encode_traced(std::string_view text) const override;
  std::string decode(const TokenIds& ids) const override;
  std::string piece(std::int64_t id) const override {
    return pieces_.at(static_cast<std::size_t>(id));
  }
  std::int64_t vocab_size() const override { return std::ssize(pieces_); }
  std::int64_t id_of(const std::string& piece) const override;
  TokenIds prefix() const override { return frame_.prefix; }
  TokenIds suffix() const override { return frame_.suffix; }

 private:
  void read_added_tokens(const JsonComponent& root);
  template <typename Add>
  void run_model(AlignedText part, bool at_start, WordCache& cache, const Add& add) const;
  template <typename Add, typename AddToken>
  void run(std::string_view text, bool traced, const Add& add, const AddToken& add_token) const;
  Words words_of(AlignedText text, bool at_start) const;
  std::unique_ptr<WordCache> borrow_cache() const;

  std::unique_ptr<WordModel> model_;
  Normalizer normalize_;       // may be empty
  PreTokenizer pre_tokenize_;  // may be empty
  TokenDecoder decode_;        // may be empty
  Frame frame_;
  bool needs_origins_ = false;              // the pre-tokenizer does, of a normalised text
  AddedTokenFinder raw_tokens_{{}};         // looked for in the text as it is
  AddedTokenFinder normalized_tokens_{{}};  // in the normalised text
  std::vector<std::string> pieces_;         // the model's and the added ones
  std::vector<bool> is_special_;            // by what a piece reads
  std::unordered_map<std::string, std::int64_t> added_ids_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<WordCache>> caches_;  // those that no thread is using
};

JsonTokenizer::JsonTokenizer(const JsonComponent& root) {
  root.require(root.get<std::string>("version", "1.0") == "1.0", "version: expected 1.0");
  const bool has_pre_tokenizer = !root.is_null("pre_tokenizer");
  const bool bytes = has_pre_tokenizer && ends_in_bytes(root.at("pre_tokenizer"));
  model_ = make_model(root.at("model"), bytes);
  if (!root.is_null("normalizer")) normalize_ = make_normalizer(root.at("normalizer"));
  if (has_pre_tokenizer) pre_tokenize_ = make_pre_tokenizer(root.at("pre_tokenizer"));
  if (!root.is_null("decoder")) decode_ = make_token_decoder(root.at("decoder"));
  if (!root.is_null("post_processor")) frame_ = read_frame(root.at("post_processor"));
  needs_origins_ = normalize_ && has_pre_tokenizer && looks_at_origins(root.at("pre_tokenizer"));
  read_added_tokens(root);
  for (const TokenIds& ids : {frame_.prefix, frame_.suffix}) {
    for (const std::int64_t id : ids) {
      root.require(id >= 0 && id < vocab_size(),
                   detail::concat("post_processor: id ", id, " is not in the vocabulary"));
    }
  }
}

void JsonTokenizer::read_added_tokens(const JsonComponent& root) {
  pieces_ = model_->pieces();
  std::int64_t next = model_->size();
  std::vector<AddedToken> raw, normalized;
  std::set<std::string> special;
  const auto list =
      root.is_null("added_tokens") ? std::vector<JsonComponent>() : root.at("added_tokens").list();
  for (const JsonComponent& component : list) {
    AddedToken token = read_added_token(component);
    if (token.content.empty()) continue;
    const std::int64_t id = id_of(token.content);
    if (model_->id_of(token.content)) token.id = id;
    // Elsewhere the package gives the next one.
    component.require(
        token.id == (id >= 0 ? id : next),
        detail::concat("id ", token.id, " of '", token.content, "', expected ", id >= 0 ? id : next,
                       ": the package numbers what is not in the vocabulary behind it"));
    if (token.id >= next) next = token.id + 1;
    const auto index = static_cast<std::size_t>(token.id);
    if (index >= pieces_.size()) pieces_.resize(index + 1);
    added_ids_[token.content] = token.id;
    if (token.special) special.insert(token.content);
    if (token.normalized && normalize_) {
      token.content = normalize_(AlignedText(token.content, 0, /*traced=*/false)).text();
    }
    pieces_[index] = token.content;
    (token.normalized ? normalized : raw).push_back(std::move(token));
  }
  for (const std::string& piece : pieces_) is_special_.push_back(special.contains(piece));
  raw_tokens_ = AddedTokenFinder(std::move(raw));
  normalized_tokens_ = AddedTokenFinder(std::move(normalized));
}

std::int64_t JsonTokenizer::id_of(const std::string& piece) const {
  const auto added = added_ids_.find(piece);
  if (added != added_ids_.end()) return added->second;
  return model_->id_of(piece).value_or(-1);
}

/// Words of a text that is one word, where no token reaches from one to the next.
std::vector<TextRange> cut_before(std::string_view text, std::string_view mark) {
  std::vector<TextRange> words;
  std::size_t begin = 0;
  for (std::size_t at = text.find(mark); at != text.npos; at = text.find(mark, at + mark.size())) {
    const bool in_run = text.substr(0, at).ends_with(mark);
    if (at == begin || in_run) continue;
    words.push_back({begin, at});
    begin = at;
  }
  if (begin < text.size()) words.push_back({begin, text.size()});
  return words;
}

Words JsonTokenizer::words_of(AlignedText text, bool at_start) const {
  Words words{std::move(text), {}, at_start};
  const std::string& bytes = words.text.text();
  if (!bytes.empty()) words.ranges.push_back({0, bytes.size()});
  if (pre_tokenize_) pre_tokenize_(words);
  const std::string_view mark = model_->cut_before();
  const std::string& final_bytes = words.text.text();
  if (!mark.empty() && words.ranges == std::vector<TextRange>{{0, final_bytes.size()}}) {
    words.ranges = cut_before(final_bytes, mark);
  }
  return words;
}

std::unique_ptr<WordCache> JsonTokenizer::borrow_cache() const {
  const std::lock_guard lock(mutex_);
  if (caches_.empty()) return std::make_unique<WordCache>();
  auto cache = std::move(caches_.back());
  caches_.pop_back();
  return cache;
}

/// Calls add(text, word, its tokens) for each word of `part`.
template <typename Add>
void JsonTokenizer::run_model(AlignedText part, bool at_start, WordCache& cache,
                              const Add& add) const {
  const Words words = words_of(std::move(part), at_start);
  std::vector<WordToken> tokens;
  for (const TextRange range : words.ranges) {
    const auto word =
        std::string_view(words.text.text()).substr(range.begin, range.end - range.begin);
    std::span<const WordToken> known = cache.find(word);
    if (known.empty()) {
      tokens.clear();
      model_->tokenize(word, tokens);
      cache.put(word, tokens);
      known = tokens;
    }
    add(words.text, range, known);
  }
}

/// Calls add(text, word, its tokens) and add_token(id, its last byte) in the order of the text.
template <typename Add, typename AddToken>
void JsonTokenizer::run(std::string_view text, bool traced, const Add& add,
                        const AddToken& add_token) const {
  std::unique_ptr<WordCache> cache = borrow_cache();
  for (const AddedPart& raw : raw_tokens_.split(text)) {
    if (raw.id >= 0) {
      add_token(raw.id, raw.content_end - 1);
      continue;
    }
    AlignedText part(text.substr(raw.range.begin, raw.range.end - raw.range.begin), raw.range.begin,
                     traced || needs_origins_);
    if (normalize_) part = normalize_(std::move(part));
    for (const AddedPart& inner : normalized_tokens_.split(part.text())) {
      if (inner.id >= 0) {
        add_token(inner.id, traced ? part.origin(inner.content_end - 1) : 0);
        continue;
      }
      AlignedText piece = part.rebuilt();
      piece.append(part, inner.range);
      run_model(std::move(piece), raw.range.begin == 0 && inner.range.begin == 0, *cache, add);
    }
  }
  const std::lock_guard lock(mutex_);
  caches_.push_back(std::move(cache));
}

TokenIds JsonTokenizer::encode(std::string_view text) const {
  std::string repaired;
  if (find_invalid_utf8(text) != text.npos) text = repaired = replace_invalid_utf8(text);
  TokenIds ids;
  ids.reserve(text.size() / 3);
  run(
      text, /*traced=*/false,
      [&](const AlignedText&, TextRange, std::span<const WordToken> tokens) {
        for (const WordToken token : tokens) ids.push_back(token.id);
      },
      [&](std::int64_t id, std::size_t) { ids.push_back(id); });
  return ids;
}

std::vector<TracedToken> JsonTokenizer::encode_traced(std::string_view text) const {
  SHIRA_CHECK(Error, find_invalid_utf8(text) == text.npos, "[Tokenizer::encode_pair] not UTF-8.");
  std::vector<TracedToken> traced;
  run(
      text, /*traced=*/true,
      [&](const AlignedText& words, TextRange word, std::span<const WordToken> tokens) {
        std::size_t end = word.begin;
        for (const WordToken token : tokens) {
          end += token.bytes;
          traced.push_back({token.id, words.origin(end - 1)});
        }
      },
      [&](std::int64_t id, std::size_t last) { traced.push_back({id, last}); });
  return traced;
}

std::string JsonTokenizer::decode(const TokenIds& ids) const {
  std::vector<std::string> pieces;
  for (const std::int64_t id : ids) {
    const auto index = static_cast<std::size_t>(id);
    if (!is_special_[index]) pieces.push_back(pieces_[index]);
  }
  if (decode_) pieces = decode_(std::move(pieces));
  std::string text;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0 && !decode_) text += ' ';
    text += pieces[i];
  }
  return text;
}

}  // namespace

std::unique_ptr<TokenizerBackend> make_json_tokenizer(const json& root, const std::string& name) {
  return std::make_unique<JsonTokenizer>(JsonComponent(root, name));
}

}  // namespace shira
