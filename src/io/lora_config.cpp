// An allow-list of settings: a LoRA variant that is not known here would load as plain LoRA
// otherwise, and be wrong in silence.
#include "lora_config.h"

#include "peft_config.h"
#include "quote.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

namespace shira::detail {
namespace {

using nlohmann::ordered_json;
using Shape = std::vector<std::int64_t>;

/// What is honoured, or has no meaning once the adapter is trained.
const std::set<std::string_view> kKnownKeys = {"alpha_pattern",
                                               "auto_mapping",
                                               "base_model_name_or_path",
                                               "bias",
                                               "corda_config",
                                               "eva_config",
                                               "ensure_weight_tying",
                                               "exclude_modules",
                                               "inference_mode",
                                               "init_lora_weights",
                                               "layers_pattern",
                                               "layers_to_transform",
                                               "loftq_config",
                                               "lora_alpha",
                                               "lora_dropout",
                                               "lora_ga_config",
                                               "megatron_core",
                                               "peft_type",
                                               "peft_version",
                                               "qalora_group_size",
                                               "r",
                                               "rank_pattern",
                                               "revision",
                                               "target_modules",
                                               "task_type",
                                               "use_dora",
                                               "use_rslora"};

/// The settings under known keys whose values cannot be honoured.
void add_unsupported_values(const ordered_json& config, std::vector<std::string>& settings) {
  const std::string bias = text_at(config, "bias");
  if (!bias.empty() && bias != "none") settings.push_back("\"bias\": " + quote(bias));
  const ordered_json init =
      config.contains("init_lora_weights") ? config["init_lora_weights"] : ordered_json();
  const bool keeps_base =  // pissa, olora, corda, loftq, ... move a part of the base into A and B
      !init.is_string() || init == "gaussian" || init == "eva" || init == "orthogonal";
  if (!keeps_base) {
    settings.push_back(concat("\"init_lora_weights\": ", init.dump(),
                              ", which changes the base (PEFT can save such an adapter "
                              "for the unchanged one: "
                              "path_initial_model_for_weight_conversion)"));
  }
}

double positive_number(const ordered_json& value, std::string_view what) {
  const double number = value.is_number() ? value.get<double>() : 0.0;
  SHIRA_CHECK(IoError, number > 0 && std::isfinite(number), what, " is ", quote(value.dump()),
              ", expected a number above 0.");
  return number;
}

LoraPatterns patterns_at(const ordered_json& config, const char* key) {
  LoraPatterns patterns;
  if (!config.contains(key) || is_unset(config[key])) return patterns;
  SHIRA_CHECK(IoError, config[key].is_object(), key, " is no object.");
  for (const auto& [expression, value] : config[key].items()) {
    patterns.emplace_back(PeftPattern(expression), positive_number(value, key));
  }
  return patterns;
}

bool targets_all_named(const ordered_json& config) {
  return std::ranges::all_of(
      std::initializer_list<const char*>{"exclude_modules", "layers_to_transform"},
      [&](const char* key) { return !config.contains(key) || config[key].is_null(); });
}

double value_for(const std::string& module, const LoraPatterns& patterns, double fallback) {
  for (const auto& [pattern, value] : patterns) {
    if (pattern.matches(module)) return value;
  }
  return fallback;
}

void check_float(const TensorView& view, std::string_view role) {
  const bool is_float =
      view.dtype == DType::kF32 || view.dtype == DType::kBF16 || view.dtype == DType::kF16;
  SHIRA_CHECK(IoError, is_float, "its ", role, " is ", dtype_name(view.dtype),
              ", expected F32, BF16 or F16.");
  for (const std::int64_t size : view.shape) {
    SHIRA_CHECK(IoError, size > 0, "its ", role, " is empty.");
  }
}

/// The alpha that gives `scaling` back to the bit when it is divided by `root`, r or sqrt(r).
double alpha_of(double scaling, double root) {
  const double alpha = scaling * root;
  for (const double candidate :
       {std::round(alpha), alpha, std::nextafter(alpha, 0.0), std::nextafter(alpha, HUGE_VAL)}) {
    if (candidate / root == scaling) return candidate;
  }
  return alpha;
}

/// Without a fraction where there is none: PEFT's alpha is an int by its type.
ordered_json short_number(double value) {
  const bool is_whole = value == std::round(value) && std::abs(value) < 1e15;
  return is_whole ? ordered_json(static_cast<std::int64_t>(value)) : ordered_json(value);
}

}  // namespace

double LoraConfig::rank_of(const std::string& module) const { return value_for(module, ranks, r); }

double LoraConfig::scaling_of(const std::string& module) const {
  const double rank = rank_of(module);
  return value_for(module, alphas, alpha) / (use_rslora ? std::sqrt(rank) : rank);
}

LoraConfig parse_lora_config(const ordered_json& config) {
  const std::string type = text_at(config, "peft_type");
  SHIRA_CHECK(IoError, type == "LORA", "peft_type is ", quote(type), ", expected LORA.");
  std::vector<std::string> settings = unknown_settings(config, kKnownKeys);
  add_unsupported_values(config, settings);
  check_supported(settings);
  SHIRA_CHECK(IoError, config.contains("lora_alpha"), "has no lora_alpha.");
  return {text_at(config, "base_model_name_or_path"),
          static_cast<double>(positive_count(config, "r")),
          positive_number(config["lora_alpha"], "lora_alpha"),
          patterns_at(config, "rank_pattern"),
          patterns_at(config, "alpha_pattern"),
          flag_at(config, "use_rslora"),
          flag_at(config, "use_dora"),
          targets_all_named(config) ? target_suffixes(config) : std::vector<std::string>()};
}

std::string lora_module(const PeftLoraTensor& tensor) {
  return tensor.name.substr(0, tensor.name.rfind('.'));
}

std::vector<std::int64_t> lora_weight_shape(const PeftLoraTensor& tensor) {
  Shape shape = tensor.a.shape;
  shape[0] = tensor.b.shape[0];
  return shape;
}

ordered_json lora_config_json(const PeftLoraFile& file, const std::string& task_type,
                              const std::function<std::string(const std::string&)>& pattern_of) {
  ordered_json r, alpha, ranks = ordered_json::object(), alphas = ordered_json::object();
  std::vector<std::string> modules;
  for (const PeftLoraTensor& tensor : file.tensors) {
    const auto rank = static_cast<double>(tensor.a.shape[0]);
    const ordered_json own_r = tensor.a.shape[0];
    const ordered_json own_alpha =
        short_number(alpha_of(tensor.scaling, file.use_rslora ? std::sqrt(rank) : rank));
    const std::string& module = modules.emplace_back(lora_module(tensor));
    if (r.is_null()) r = own_r, alpha = own_alpha;
    if (own_r != r) ranks[pattern_of(module)] = own_r;
    if (own_alpha != alpha) alphas[pattern_of(module)] = own_alpha;
  }
  return {{"peft_type", "LORA"},
          {"auto_mapping", nullptr},
          {"base_model_name_or_path", file.base_model},
          {"revision", nullptr},
          {"task_type", task_type.empty() ? ordered_json() : ordered_json(task_type)},
          {"inference_mode", true},
          {"r", r},
          {"lora_alpha", alpha},
          {"rank_pattern", ranks},
          {"alpha_pattern", alphas},
          {"lora_dropout", file.dropout},
          {"use_rslora", file.use_rslora},
          {"use_dora", file.tensors.front().magnitude.has_value()},
          {"target_modules", modules},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"init_lora_weights", true},
          {"modules_to_save", nullptr}};
}

void check_lora_factors(const PeftLoraTensor& tensor) {
  const Shape &a = tensor.a.shape, &b = tensor.b.shape;
  check_float(tensor.a, "lora_A");
  check_float(tensor.b, "lora_B");
  const bool is_linear = a.size() == 2 && b.size() == 2;
  const bool is_conv = a.size() == 4 && b.size() == 4 && b[2] == 1 && b[3] == 1;
  SHIRA_CHECK(IoError, (is_linear || is_conv) && a[0] == b[1],
              "its lora_A and lora_B are no product: expected (r, in) and (out, r), or (r, in, kh, "
              "kw) and (out, r, 1, 1).");
}

void check_lora_rank(const PeftLoraTensor& tensor, double rank) {
  SHIRA_CHECK(IoError, static_cast<double>(tensor.a.shape[0]) == rank, "its rank is ",
              tensor.a.shape[0], ", but ", rank, " in the configuration (r, rank_pattern).");
}

void check_lora_magnitude(const PeftLoraTensor& tensor, bool use_dora) {
  SHIRA_CHECK(IoError, tensor.magnitude.has_value() == use_dora, "use_dora is ",
              use_dora ? "true, but it has no" : "false, but it has a", " lora_magnitude_vector.");
  if (!use_dora) return;
  check_float(*tensor.magnitude, "lora_magnitude_vector");
  const std::int64_t out = tensor.b.shape[0];
  const bool is_convolution = tensor.a.shape.size() == 4;
  SHIRA_CHECK(IoError,
              tensor.magnitude->shape == (is_convolution ? Shape{1, out, 1, 1} : Shape{out}),
              "its lora_magnitude_vector does not hold ", out, " (out) magnitudes.");
}

}  // namespace shira::detail
