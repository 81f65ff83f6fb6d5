// The pipelines are those of transformers/models/{clip,gpt2,qwen2}/tokenization_*.py.
#include "vocabulary_files.h"

#include "io/json_object.h"
#include "json_component.h"
#include "utf8.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>

#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string_view>

namespace shira {
namespace {

using nlohmann::json;

constexpr const char* kTokenKeys[] = {"bos_token", "eos_token", "unk_token", "pad_token"};

constexpr const char* kClip = R"json({
  "normalizer": {"type": "Sequence", "normalizers": [
    {"type": "NFC"},
    {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
    {"type": "Lowercase"}]},
  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
    {"type": "Split", "behavior": "Removed", "invert": true, "pattern": {"Regex":
     "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"}},
    {"type": "ByteLevel", "add_prefix_space": false}]},
  "decoder": {"type": "Sequence", "decoders": [
    {"type": "ByteLevel"},
    {"type": "Replace", "pattern": {"String": "</w>"}, "content": " "},
    {"type": "Replace", "content": "",
     "pattern": {"Regex": "\\A[\\s\\x1C-\\x1F]+|[\\s\\x1C-\\x1F]+\\z"}}]},
  "model": {"type": "BPE", "end_of_word_suffix": "</w>"}
})json";

constexpr const char* kGpt2 = R"json({
  "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
  "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE"}
})json";

constexpr const char* kQwen2 = R"json({
  "normalizer": {"type": "NFC"},
  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
    {"type": "Split", "behavior": "Isolated", "pattern": {"Regex":
     "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
  "decoder": {"type": "ByteLevel"},
  "model": {"type": "BPE"}
})json";

json read_object_or_nothing(const std::filesystem::path& file) {
  return std::filesystem::exists(file) ? detail::read_json_object(file) : json::object();
}

/// A class of transformers: its pipeline and the special tokens that it has without settings.
struct TokenizerClass {
  const char* pipeline;
  std::map<std::string, std::string> tokens;
};

const TokenizerClass& class_of(const std::filesystem::path& directory, const json& settings,
                               const json& vocabulary) {
  static const std::string end = "<|endoftext|>", start = "<|startoftext|>";
  static const std::map<std::string, TokenizerClass> table = {
      {"CLIPTokenizer",
       {kClip, {{"bos_token", start}, {"eos_token", end}, {"unk_token", end}, {"pad_token", end}}}},
      {"GPT2Tokenizer", {kGpt2, {{"bos_token", end}, {"eos_token", end}, {"unk_token", end}}}},
      {"Qwen2Tokenizer", {kQwen2, {{"eos_token", end}, {"unk_token", end}, {"pad_token", end}}}}};
  const std::string file = (directory / "tokenizer_config.json").string();
  auto name = JsonComponent(settings, file).get<std::string>("tokenizer_class", "");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  if (name.empty() && vocabulary.contains(start)) name = "CLIPTokenizer";
  const auto found = table.find(name);
  if (found != table.end()) return found->second;
  std::string known;
  for (const auto& [other, entry] : table) known += (known.empty() ? "" : ", ") + other;
  throw IoError(detail::concat(directory.string(),
                               ": vocab.json and merges.txt of the tokenizer_class '", name,
                               "' (tokenizer_config.json) are not supported. Supported: ", known,
                               "; or save a tokenizer.json with transformers."));
}

/// What older directories have in files of their own.
void add_older_files(const std::filesystem::path& directory, json& settings) {
  if (settings.contains("added_tokens_decoder")) return;
  settings.update(read_object_or_nothing(directory / "special_tokens_map.json"));
  const auto added = directory / "added_tokens.json";
  if (!std::filesystem::exists(added)) return;
  json tokens = json::object();
  const json ids = detail::read_json_object(added);
  for (const auto& [content, id] : ids.items()) {
    SHIRA_CHECK(IoError, id.is_number_integer(), added.string(), ": the id of '", content,
                "': expected an integer. Got ", id.dump(), ".");
    tokens[id.dump()] = {{"content", content}};
  }
  settings["added_tokens_decoder"] = std::move(tokens);
}

/// One merge a line, after a line of the version.
json read_merges(const std::filesystem::path& path) {
  const std::string text = read_utf8_file(path);
  json merges = json::array();
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty() && !(begin == 0 && line.starts_with("#version"))) merges.push_back(line);
    begin = end + 1;
  }
  return merges;
}

// --- added tokens -------------------------------------------------------------------------------

/// A token of tokenizer_config.json: its text, or an object with `content`.
std::string content_of(const JsonComponent& token) {
  const json& value = token.json();
  const bool has_content = value.is_object() && value.contains("content");
  token.require(value.is_string() || has_content, "expected a token");
  return value.is_string() ? value.get<std::string>() : token.get<std::string>("content");
}

/// The special tokens that `settings` names.
std::vector<JsonComponent> named_tokens(const JsonComponent& settings) {
  std::vector<JsonComponent> tokens;
  for (const char* key : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                          "cls_token", "mask_token"}) {
    if (!settings.is_null(key)) tokens.push_back(settings.at(key));
  }
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    if (settings.is_null(key)) continue;
    for (const JsonComponent& token : settings.at(key).list()) tokens.push_back(token);
  }
  return tokens;
}

std::int64_t parse_id(const JsonComponent& list, const std::string& text) {
  std::int64_t id = -1;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, id);
  list.require(error == std::errc() && stop == end, "'" + text + "' is not an id");
  return id;
}

/// Those of added_tokens_decoder, by id.
std::map<std::int64_t, JsonComponent> listed_tokens(const JsonComponent& settings) {
  std::map<std::int64_t, JsonComponent> tokens;
  if (settings.is_null("added_tokens_decoder")) return tokens;
  const JsonComponent list = settings.at("added_tokens_decoder");
  list.require(list.json().is_object(), "expected an object");
  for (const auto& [id, token] : list.json().items()) {
    tokens.emplace(parse_id(list, id), list.at(id.c_str()));
  }
  return tokens;
}

/// As a tokenizer.json has them: the listed ones, then those that are named alone.
json added_tokens_of(const json& vocabulary, const JsonComponent& settings) {
  const std::vector<JsonComponent> named = named_tokens(settings);
  std::set<std::string> special, seen;
  for (const JsonComponent& token : named) special.insert(content_of(token));
  std::int64_t next = std::ssize(vocabulary);
  json tokens = json::array();
  const auto add = [&](const JsonComponent& component, std::optional<std::int64_t> id) {
    const std::string content = content_of(component);
    if (content.empty() || !seen.insert(content).second) return;
    json token = component.json().is_object() ? component.json() : json::object();
    const bool is_known = vocabulary.contains(content);
    const json own_id = is_known ? vocabulary[content] : json(next);
    if (!is_known) ++next;
    token["id"] = id ? json(*id) : own_id;
    token["content"] = content;
    if (special.contains(content)) token["special"] = true;
    if (!token.contains("normalized")) token["normalized"] = !special.contains(content);
    tokens.push_back(std::move(token));
  };
  for (const auto& [id, token] : listed_tokens(settings)) add(token, id);
  for (const JsonComponent& token : named) add(token, std::nullopt);
  return tokens;
}

/// CLIP's texts stand between its BOS and EOS.
json frame_of(const json& vocabulary, const json& settings) {
  const auto token = [&](const char* key) {
    const std::string content = special_token(settings, key);
    SHIRA_CHECK(IoError, vocabulary.contains(content), "tokenizer_config.json: ", key, " '",
                content, "' is not in vocab.json.");
    return json::array({content, vocabulary[content]});
  };
  return {{"type", "RobertaProcessing"}, {"cls", token("bos_token")}, {"sep", token("eos_token")}};
}

}  // namespace

std::string special_token(const json& settings, const char* key) {
  const auto found = settings.find(key);
  if (found == settings.end()) return "";
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
    return (*found)["content"].get<std::string>();
  }
  return found->is_string() ? found->get<std::string>() : "";
}

json read_tokenizer_settings(const std::filesystem::path& directory) {
  json settings = read_object_or_nothing(directory / "tokenizer_config.json");
  if (settings.contains("added_tokens_decoder")) return settings;
  const json map = read_object_or_nothing(directory / "special_tokens_map.json");
  for (const char* key : kTokenKeys) {
    if (!special_token(map, key).empty()) settings[key] = map[key];
  }
  return settings;
}

json read_vocabulary_files(const std::filesystem::path& directory, json& settings) {
  json vocabulary = detail::read_json_object(directory / "vocab.json");
  const TokenizerClass& kind = class_of(directory, settings, vocabulary);
  add_older_files(directory, settings);
  for (const auto& [key, token] : kind.tokens) {
    if (!settings.contains(key)) settings[key] = token;
  }
  const JsonComponent component(settings, (directory / "tokenizer_config.json").string());
  json root = json::parse(kind.pipeline);
  root["added_tokens"] = added_tokens_of(vocabulary, component);
  if (root["model"].contains("end_of_word_suffix")) {
    root["post_processor"] = frame_of(vocabulary, settings);
    root["model"]["unk_token"] = special_token(settings, "unk_token");
  } else if (component.get("add_prefix_space", false)) {
    json& step = root["pre_tokenizer"];
    (step["type"] == "Sequence" ? step["pretokenizers"].back() : step)["add_prefix_space"] = true;
  }
  root["model"]["merges"] = read_merges(directory / "merges.txt");
  root["model"]["vocab"] = std::move(vocabulary);
  return root;
}

}  // namespace shira
