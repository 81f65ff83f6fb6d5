// Every key that would change the computation is either honoured or refused; keys that only
// describe training or files are ignored.
#include "json_config.h"

#include <shira/base/error.h>
#include <shira/models/llama_config.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <map>

namespace shira {
namespace {

using detail::JsonConfig;
using detail::read_json_object;
using nlohmann::json;

/// What a model_type means where its config.json says nothing.
struct Family {
  bool qkv_bias = false;             // always
  bool qk_norm = false;              // always
  std::int64_t key_value_heads = 0;  // 0: as many as heads
  std::int64_t head_dim = 0;         // 0: hidden_size / heads
  std::int64_t sliding_window = 0;   // of a config without the key; 0: none in any case
  bool chooses_sliding = false;      // use_sliding_window turns the window on
  bool attention_bias = false;       // whether the key means something
  bool mlp_bias = false;             // the same
};

const std::map<std::string, Family>& families() {
  static const std::map<std::string, Family> table = {
      {"llama", {.attention_bias = true, .mlp_bias = true}},
      {"mistral", {.key_value_heads = 8, .sliding_window = 4096}},
      {"qwen2",
       {.qkv_bias = true, .key_value_heads = 32, .sliding_window = 4096, .chooses_sliding = true}},
      {"qwen3",
       {.qk_norm = true,
        .key_value_heads = 32,
        .head_dim = 128,
        .sliding_window = 4096,
        .chooses_sliding = true,
        .attention_bias = true}}};
  return table;
}

Family read_family(JsonConfig& reader) {
  const auto type = reader.require<std::string>("model_type", "llama");
  const auto found = families().find(type);
  reader.expect(found != families().end(), "model_type",
                "only llama, mistral, qwen2 and qwen3 are supported");
  return found == families().end() ? Family{} : found->second;
}

/// Settings under which transformers would compute something else than we do.
void refuse_unsupported(JsonConfig& reader) {
  reader.expect(reader.get<std::string>("hidden_act", "silu") == "silu", "hidden_act",
                "only silu is supported");
  reader.expect(reader.get<double>("attention_dropout", 0.0) == 0.0, "attention_dropout",
                "only 0 is supported");
  reader.expect(reader.get<double>("partial_rotary_factor", 1.0) == 1.0, "partial_rotary_factor",
                "only 1 is supported");
  reader.expect(reader.get<bool>("is_causal", true), "is_causal",
                "attention in both directions is not supported");
  reader.expect(!reader.has("quantization_config"), "quantization_config",
                "quantised checkpoints are not supported");
}

void read_sizes(JsonConfig& reader, const Family& family, LlamaConfig& config) {
  config.vocab_size = reader.require_size("vocab_size");
  config.hidden_size = reader.require_size("hidden_size");
  config.intermediate_size = reader.require_size("intermediate_size");
  config.num_hidden_layers = reader.require_size("num_hidden_layers");
  config.num_attention_heads = reader.require_size("num_attention_heads");
  config.num_key_value_heads = reader.get<std::int64_t>(
      "num_key_value_heads",
      family.key_value_heads > 0 ? family.key_value_heads : config.num_attention_heads);
  config.head_dim = reader.get<std::int64_t>(
      "head_dim",
      family.head_dim > 0 ? family.head_dim : config.hidden_size / config.num_attention_heads);
  config.max_position_embeddings = reader.get<std::int64_t>("max_position_embeddings", 2048);
  reader.expect(
      config.num_key_value_heads >= 1 &&
          config.num_attention_heads % std::max<std::int64_t>(config.num_key_value_heads, 1) == 0,
      "num_key_value_heads", "expected a divisor of num_attention_heads");
  reader.expect(reader.has("head_dim") || family.head_dim > 0 ||
                    config.hidden_size % config.num_attention_heads == 0,
                "num_attention_heads", "expected a divisor of hidden_size");
  reader.expect(config.head_dim >= 2 && config.head_dim % 2 == 0 && config.head_dim <= (1 << 16),
                "head_dim", "expected an even number");
  reader.expect(config.max_position_embeddings >= 1, "max_position_embeddings",
                "expected a number of at least 1");
}

void read_llama3_scaling(JsonConfig& rope, nn::RopeScaling& scaling) {
  scaling.low_freq_factor = rope.require<double>("low_freq_factor", 1.0);
  scaling.high_freq_factor = rope.require<double>("high_freq_factor", 4.0);
  scaling.original_max_position_embeddings =
      rope.require<std::int64_t>("original_max_position_embeddings", 8192);
  rope.expect(scaling.low_freq_factor > 0.0, "low_freq_factor", "expected a number above 0");
  rope.expect(scaling.high_freq_factor > scaling.low_freq_factor, "high_freq_factor",
              "expected more than low_freq_factor");
}

/// How much attention is sharpened (Peng et al. 2023, equation 22; DeepSeek's mscale).
double yarn_attention_factor(JsonConfig& rope, double factor) {
  const auto sharpness = [factor](double scale) {
    return factor <= 1.0 ? 1.0 : 0.1 * scale * std::log(factor) + 1.0;
  };
  const double scale = rope.get<double>("mscale", 0.0);
  const double of_all = rope.get<double>("mscale_all_dim", 0.0);
  const bool has_both = scale != 0.0 && of_all != 0.0;
  return rope.get<double>("attention_factor",
                          has_both ? sharpness(scale) / sharpness(of_all) : sharpness(1.0));
}

void read_yarn_scaling(JsonConfig& rope, nn::RopeScaling& scaling) {
  scaling.beta_fast = rope.get<double>("beta_fast", 32.0);
  scaling.beta_slow = rope.get<double>("beta_slow", 1.0);
  scaling.attention_factor = yarn_attention_factor(rope, scaling.factor);
  scaling.truncate = rope.get<bool>("truncate", true);
  rope.expect(scaling.beta_slow > 0.0, "beta_slow", "expected a number above 0");
  rope.expect(scaling.beta_fast >= scaling.beta_slow, "beta_fast", "expected at least beta_slow");
}

nn::RopeScaling read_scaling(JsonConfig& rope, nn::RopeScaling::Kind kind, std::int64_t context) {
  using Kind = nn::RopeScaling::Kind;
  nn::RopeScaling scaling{.kind = kind};
  scaling.factor = rope.require<double>("factor", 8.0);
  rope.expect(scaling.factor >= 1.0, "factor", "expected at least 1");
  // transformers' dynamic scaling knows the context of the config alone.
  scaling.original_max_position_embeddings =
      kind == Kind::kDynamic ? context
                             : rope.get<std::int64_t>("original_max_position_embeddings", context);
  rope.expect(scaling.original_max_position_embeddings >= 1, "original_max_position_embeddings",
              "expected a number of at least 1");
  if (kind == Kind::kLlama3) read_llama3_scaling(rope, scaling);
  if (kind == Kind::kYarn) read_yarn_scaling(rope, scaling);
  return scaling;
}

/// `rope` is rope_parameters (new spelling) or rope_scaling (old).
void read_rope_object(JsonConfig& rope, LlamaConfig& config) {
  using Kind = nn::RopeScaling::Kind;
  for (const auto& [key, value] : rope.object().items()) {
    rope.expect(!value.is_object(), key.c_str(), "settings for each layer type are not supported");
  }
  static const std::map<std::string, Kind> kinds = {{"linear", Kind::kLinear},
                                                    {"dynamic", Kind::kDynamic},
                                                    {"yarn", Kind::kYarn},
                                                    {"llama3", Kind::kLlama3}};
  const auto type = rope.get<std::string>("rope_type", rope.get<std::string>("type", "default"));
  const auto kind = kinds.find(type);
  rope.expect(type == "default" || kind != kinds.end(),
              rope.has("rope_type") ? "rope_type" : "type",
              "only default, linear, dynamic, yarn and llama3 are supported");
  rope.expect(rope.get<double>("partial_rotary_factor", 1.0) == 1.0, "partial_rotary_factor",
              "only 1 is supported");
  config.rope_theta = rope.get<double>("rope_theta", config.rope_theta);
  if (kind != kinds.end()) {
    config.rope_scaling = read_scaling(rope, kind->second, config.max_position_embeddings);
  }
}

void read_rope(JsonConfig& reader, LlamaConfig& config) {
  config.rope_theta = reader.get<double>("rope_theta", 10000.0);
  const bool has_both = reader.has("rope_scaling") && reader.has("rope_parameters");
  reader.expect(!has_both || reader.at("rope_scaling") == reader.at("rope_parameters"),
                "rope_scaling", "differs from rope_parameters. Keep one of them");
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!reader.has(key)) continue;
    reader.expect(reader.at(key).is_object(), key, "expected an object");
    if (!reader.at(key).is_object()) continue;
    JsonConfig rope(reader.at(key));
    read_rope_object(rope, config);
    for (const std::string& text : rope.problems()) {
      reader.problems().push_back(std::string(key) + "." + text);
    }
  }
  reader.expect(config.rope_theta > 0.0, "rope_theta", "expected a number above 0");
}

/// Which layers have the window: by layer_types, or max_window_layers before there were such.
std::vector<bool> read_sliding_layers(JsonConfig& reader, std::int64_t layers) {
  std::vector<bool> sliding;
  if (reader.has("layer_types")) {
    for (const json& type : reader.at("layer_types"))
      sliding.push_back(type == "sliding_attention");
    reader.expect(std::ssize(sliding) == layers, "layer_types",
                  "expected one for each of the num_hidden_layers");
    return sliding;
  }
  const auto first = reader.get<std::int64_t>("max_window_layers", 28);
  for (std::int64_t i = 0; i < layers; ++i) sliding.push_back(i >= first);
  return sliding;
}

void check_layer_types(JsonConfig& reader) {
  if (!reader.has("layer_types")) return;
  reader.expect(reader.at("layer_types").is_array(), "layer_types", "expected a list");
  for (const json& type : reader.at("layer_types")) {
    const bool is_known = type == "sliding_attention" || type == "full_attention";
    if (is_known) continue;
    reader.expect(false, "layer_types", "only full_attention and sliding_attention are supported");
    return;
  }
}

/// LLaMA has none, whatever the keys say, as in transformers.
void read_sliding_window(JsonConfig& reader, const Family& family, LlamaConfig& config) {
  check_layer_types(reader);
  if (family.sliding_window == 0) return;
  if (family.chooses_sliding && !reader.get<bool>("use_sliding_window", false)) {
    const bool is_full = !reader.has("layer_types") ||
                         std::ranges::find(reader.at("layer_types"), json("sliding_attention")) ==
                             reader.at("layer_types").end();
    reader.expect(is_full, "layer_types", "sliding_attention needs use_sliding_window");
    return;
  }
  const bool is_named = reader.object().contains("sliding_window");  // null: none
  const auto window =
      reader.get<std::int64_t>("sliding_window", is_named ? 0 : family.sliding_window);
  reader.expect(!reader.has("sliding_window") || window >= 1, "sliding_window",
                "expected a number of at least 1");
  config.sliding_window = window;
  if (window != 0 && (family.chooses_sliding || reader.has("layer_types"))) {
    config.sliding_layers = read_sliding_layers(reader, config.num_hidden_layers);
  }
}

void read_biases(JsonConfig& reader, const Family& family, LlamaConfig& config) {
  const bool attention_bias = family.attention_bias && reader.get<bool>("attention_bias", false);
  config.qkv_bias = family.qkv_bias || attention_bias;
  config.output_bias = attention_bias;
  config.qk_norm = family.qk_norm;
  config.mlp_bias = family.mlp_bias && reader.get<bool>("mlp_bias", false);
}

/// An id, or a list of ids.
std::optional<std::vector<std::int64_t>> token_ids(const json& object, const char* key) {
  if (!object.contains(key)) return std::nullopt;
  const json& value = object[key];
  if (value.is_number_integer()) return {{value.get<std::int64_t>()}};
  if (!value.is_array()) return std::nullopt;
  std::vector<std::int64_t> ids;
  for (const json& id : value) {
    if (id.is_number_integer()) ids.push_back(id.get<std::int64_t>());
  }
  return ids;
}

std::vector<std::int64_t> read_eos_ids(const std::filesystem::path& directory, const json& object) {
  const auto generation = directory / "generation_config.json";
  if (std::filesystem::exists(generation)) {
    if (auto ids = token_ids(read_json_object(generation), "eos_token_id")) return *ids;
  }
  return token_ids(object, "eos_token_id").value_or(std::vector<std::int64_t>{2});
}

}  // namespace

LlamaConfig read_llama_config(const std::filesystem::path& directory) {
  SHIRA_CHECK(IoError, std::filesystem::is_directory(directory), "'", directory.string(),
              "': no such checkpoint directory. Give a local HuggingFace directory; `hf download "
              "ORG/NAME --local-dir DIR` fetches one.");
  SHIRA_CHECK(ConfigError, !std::filesystem::exists(directory / "model_index.json"),
              directory.string(),
              ": is a diffusers pipeline, not a language model. `shira imagine` draws with it.");
  const json object = read_json_object(directory / "config.json");
  JsonConfig reader(object);
  LlamaConfig config;
  const Family family = read_family(reader);
  refuse_unsupported(reader);
  read_sizes(reader, family, config);
  read_rope(reader, config);
  config.rms_norm_eps = reader.get<double>("rms_norm_eps", 1e-6);
  reader.expect(config.rms_norm_eps >= 0.0, "rms_norm_eps", "expected a number of at least 0");
  read_biases(reader, family, config);
  read_sliding_window(reader, family, config);
  config.tie_word_embeddings = reader.get<bool>("tie_word_embeddings", false);
  config.eos_token_ids = read_eos_ids(directory, object);

  reader.check(directory / "config.json");
  return config;
}

}  // namespace shira
