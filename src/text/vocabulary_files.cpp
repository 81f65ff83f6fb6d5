// The pipelines are those of transformers/models/{clip,gpt2,qwen2}/tokenization_*.py.
#include "vocabulary_files.h"

#include "utf8.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>

#include <map>
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
  "decoder": {"type": "ByteLevel"},
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
  if (!std::filesystem::exists(file)) return json::object();
  json object = json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  SHIRA_CHECK(IoError, object.is_object(), file.string(), ": not a JSON object.");
  return object;
}

json pipeline_of(const std::filesystem::path& directory, const json& settings) {
  static const std::map<std::string, const char*> table = {
      {"CLIPTokenizer", kClip}, {"GPT2Tokenizer", kGpt2}, {"Qwen2Tokenizer", kQwen2}};
  std::string name = settings.value("tokenizer_class", "");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  const auto found = table.find(name);
  std::string known;
  for (const auto& [other, pipeline] : table) known += (known.empty() ? "" : ", ") + other;
  SHIRA_CHECK(IoError, found != table.end(), directory.string(),
              ": vocab.json and merges.txt of the tokenizer_class '", name,
              "' (tokenizer_config.json) are not supported. Supported: ", known,
              "; or save a tokenizer.json with transformers.");
  return json::parse(found->second);
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

/// The special tokens that `settings` names, as added tokens.
json added_tokens_of(const json& vocabulary, const json& settings) {
  json tokens = json::array();
  std::set<std::string> seen;
  if (const auto decoder = settings.find("added_tokens_decoder"); decoder != settings.end()) {
    for (const auto& [id, token] : decoder->items()) {
      json copy = token;
      copy["id"] = std::stoll(id);
      seen.insert(token.at("content").get<std::string>());
      tokens.push_back(std::move(copy));
    }
  }
  for (const char* key : kTokenKeys) {
    const std::string content = special_token(settings, key);
    if (content.empty() || !vocabulary.contains(content) || !seen.insert(content).second) continue;
    json token = settings[key].is_object() ? settings[key] : json::object();
    token["id"] = vocabulary[content];
    token["content"] = content;
    token["special"] = true;
    tokens.push_back(std::move(token));
  }
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

json read_vocabulary_files(const std::filesystem::path& directory, const json& settings) {
  json root = pipeline_of(directory, settings);
  const std::string text = read_utf8_file(directory / "vocab.json");
  json vocabulary = json::parse(text, nullptr, /*allow_exceptions=*/false);
  SHIRA_CHECK(IoError, vocabulary.is_object(), (directory / "vocab.json").string(),
              ": not a JSON object.");
  root["added_tokens"] = added_tokens_of(vocabulary, settings);
  if (root["model"].contains("end_of_word_suffix")) {
    root["post_processor"] = frame_of(vocabulary, settings);
    root["model"]["unk_token"] = special_token(settings, "unk_token");
  }
  root["model"]["merges"] = read_merges(directory / "merges.txt");
  root["model"]["vocab"] = std::move(vocabulary);
  return root;
}

}  // namespace shira
