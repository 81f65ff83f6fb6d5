// Every key that would change the computation is either honoured or refused; keys that only
// describe training or files are ignored.
#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/models/llama_config.h>

#include <nlohmann/json.hpp>

#include <algorithm>

namespace shira {
namespace {

using nlohmann::json;

/// Reads keys of one JSON object and collects what is wrong with them.
class ConfigReader {
 public:
  explicit ConfigReader(const json& object) : object_(object) {}

  /// The value of `key`, or `fallback` where it is absent or null.
  template <typename T>
  T get(const char* key, T fallback) {
    if (!has(key)) return fallback;
    if (is_of_type<T>(object_[key])) return object_[key].get<T>();
    problem(key, "has the wrong type");
    return fallback;
  }

  template <typename T>
  T require(const char* key, T placeholder) {
    if (!has(key)) problems_.push_back(std::string(key) + ": missing");
    return get(key, placeholder);
  }

  std::int64_t require_size(const char* key) {
    const auto size = require<std::int64_t>(key, 1);
    expect(size >= 1 && size <= (1 << 24), key, "expected a size between 1 and 2^24");
    return std::max<std::int64_t>(size, 1);  // what follows divides by it
  }

  void expect(bool condition, const char* key, const std::string& what) {
    if (!condition) problem(key, what);
  }

  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  const json& at(const char* key) const { return object_[key]; }
  std::vector<std::string>& problems() { return problems_; }

 private:
  template <typename T>
  static bool is_of_type(const json& value) {
    if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
    if constexpr (std::is_same_v<T, std::string>) return value.is_string();
    if constexpr (std::is_integral_v<T>) return value.is_number_integer();
    return value.is_number();
  }

  void problem(const char* key, const std::string& what) {
    std::string value = object_.contains(key)
                            ? object_[key].dump(-1, ' ', false, json::error_handler_t::replace)
                            : "nothing";
    if (value.size() > 80) value.replace(77, std::string::npos, "...");
    problems_.push_back(std::string(key) + ": " + what + ". Got " + value);
  }

  const json& object_;
  std::vector<std::string> problems_;
};

json parse_object(const std::filesystem::path& path) {
  json object = json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  SHIRA_CHECK(IoError, object.is_object(), path.string(), ": not a JSON object.");
  return object;
}

/// Settings under which transformers would compute something else than we do.
void refuse_unsupported(ConfigReader& reader) {
  reader.expect(reader.get<std::string>("model_type", "llama") == "llama", "model_type",
                "only llama is supported");
  reader.expect(reader.get<std::string>("hidden_act", "silu") == "silu", "hidden_act",
                "only silu is supported");
  reader.expect(reader.get<double>("attention_dropout", 0.0) == 0.0, "attention_dropout",
                "only 0 is supported");
  reader.expect(reader.get<double>("partial_rotary_factor", 1.0) == 1.0, "partial_rotary_factor",
                "only 1 is supported");
  reader.expect(!reader.has("quantization_config"), "quantization_config",
                "quantised checkpoints are not supported");
  reader.expect(!reader.has("sliding_window"), "sliding_window", "not supported for llama");
}

void read_sizes(ConfigReader& reader, LlamaConfig& config) {
  config.vocab_size = reader.require_size("vocab_size");
  config.hidden_size = reader.require_size("hidden_size");
  config.intermediate_size = reader.require_size("intermediate_size");
  config.num_hidden_layers = reader.require_size("num_hidden_layers");
  config.num_attention_heads = reader.require_size("num_attention_heads");
  config.num_key_value_heads =
      reader.get<std::int64_t>("num_key_value_heads", config.num_attention_heads);
  config.head_dim =
      reader.get<std::int64_t>("head_dim", config.hidden_size / config.num_attention_heads);
  config.max_position_embeddings = reader.get<std::int64_t>("max_position_embeddings", 2048);
  reader.expect(
      config.num_key_value_heads >= 1 &&
          config.num_attention_heads % std::max<std::int64_t>(config.num_key_value_heads, 1) == 0,
      "num_key_value_heads", "expected a divisor of num_attention_heads");
  reader.expect(reader.has("head_dim") || config.hidden_size % config.num_attention_heads == 0,
                "num_attention_heads", "expected a divisor of hidden_size");
  reader.expect(config.head_dim >= 2 && config.head_dim % 2 == 0 && config.head_dim <= (1 << 16),
                "head_dim", "expected an even number");
  reader.expect(config.max_position_embeddings >= 1, "max_position_embeddings",
                "expected a number of at least 1");
}

nn::Llama3RopeScaling read_llama3_scaling(ConfigReader& rope) {
  nn::Llama3RopeScaling scaling;
  scaling.factor = rope.require<double>("factor", 8.0);
  scaling.low_freq_factor = rope.require<double>("low_freq_factor", 1.0);
  scaling.high_freq_factor = rope.require<double>("high_freq_factor", 4.0);
  scaling.original_max_position_embeddings =
      rope.require<std::int64_t>("original_max_position_embeddings", 8192);
  rope.expect(scaling.factor >= 1.0, "factor", "expected at least 1");
  rope.expect(scaling.low_freq_factor > 0.0, "low_freq_factor", "expected a number above 0");
  rope.expect(scaling.high_freq_factor > scaling.low_freq_factor, "high_freq_factor",
              "expected more than low_freq_factor");
  return scaling;
}

/// `rope` is rope_parameters (new spelling) or rope_scaling (old).
void read_rope_object(ConfigReader& rope, LlamaConfig& config) {
  const auto type = rope.get<std::string>("rope_type", rope.get<std::string>("type", "default"));
  rope.expect(type == "default" || type == "llama3", rope.has("rope_type") ? "rope_type" : "type",
              "only default and llama3 are supported");
  rope.expect(rope.get<double>("partial_rotary_factor", 1.0) == 1.0, "partial_rotary_factor",
              "only 1 is supported");
  config.rope_theta = rope.get<double>("rope_theta", config.rope_theta);
  if (type == "llama3") config.rope_scaling = read_llama3_scaling(rope);
}

void read_rope(ConfigReader& reader, LlamaConfig& config) {
  config.rope_theta = reader.get<double>("rope_theta", 10000.0);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!reader.has(key)) continue;
    reader.expect(reader.at(key).is_object(), key, "expected an object");
    if (!reader.at(key).is_object()) continue;
    ConfigReader rope(reader.at(key));
    read_rope_object(rope, config);
    for (const std::string& text : rope.problems()) {
      reader.problems().push_back(std::string(key) + "." + text);
    }
  }
  reader.expect(config.rope_theta > 0.0, "rope_theta", "expected a number above 0");
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
    if (auto ids = token_ids(parse_object(generation), "eos_token_id")) return *ids;
  }
  return token_ids(object, "eos_token_id").value_or(std::vector<std::int64_t>{2});
}

}  // namespace

LlamaConfig read_llama_config(const std::filesystem::path& directory) {
  SHIRA_CHECK(IoError, std::filesystem::is_directory(directory), "'", directory.string(),
              "': no such checkpoint directory. Give a local HuggingFace directory; `hf download "
              "ORG/NAME --local-dir DIR` fetches one.");
  const json object = parse_object(directory / "config.json");
  ConfigReader reader(object);
  LlamaConfig config;
  refuse_unsupported(reader);
  read_sizes(reader, config);
  read_rope(reader, config);
  config.rms_norm_eps = reader.get<double>("rms_norm_eps", 1e-6);
  reader.expect(config.rms_norm_eps >= 0.0, "rms_norm_eps", "expected a number of at least 0");
  config.attention_bias = reader.get<bool>("attention_bias", false);
  config.mlp_bias = reader.get<bool>("mlp_bias", false);
  config.tie_word_embeddings = reader.get<bool>("tie_word_embeddings", false);
  config.eos_token_ids = read_eos_ids(directory, object);

  std::string problems;
  for (const std::string& text : reader.problems()) problems += "\n  " + text;
  SHIRA_CHECK(ConfigError, problems.empty(), (directory / "config.json").string(),
              ": not a LLaMA that this version can run:", problems);
  return config;
}

}  // namespace shira
