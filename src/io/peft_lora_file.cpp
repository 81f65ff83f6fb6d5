// An allow-list of settings: a LoRA variant that is not known here would load as plain LoRA
// otherwise, and be wrong in silence.
#include "peft_config.h"
#include "peft_pattern.h"
#include "quote.h"

#include <shira/io/atomic_file.h>
#include <shira/io/peft_lora_file.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>

namespace shira {
namespace {

using nlohmann::ordered_json;
using Shape = std::vector<std::int64_t>;
/// rank_pattern and alpha_pattern: the first match in the file's order counts.
using Patterns = std::vector<std::pair<detail::PeftPattern, double>>;

struct LoraConfig {
  std::string base_model;
  double r = 0, alpha = 0;
  Patterns ranks, alphas;
  bool use_rslora = false;
  bool use_dora = false;
  std::vector<std::string> target_suffixes;  // empty where further settings leave layers out
};

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

// --- Configuration ------------------------------------------------------------------------------

/// The settings under known keys whose values cannot be honoured.
void add_unsupported_values(const ordered_json& config, std::vector<std::string>& settings) {
  const std::string bias = detail::text_at(config, "bias");
  if (!bias.empty() && bias != "none") settings.push_back("\"bias\": " + detail::quote(bias));
  const ordered_json init =
      config.contains("init_lora_weights") ? config["init_lora_weights"] : ordered_json();
  const bool keeps_base =  // pissa, olora, corda, loftq, ... move a part of the base into A and B
      !init.is_string() || init == "gaussian" || init == "eva" || init == "orthogonal";
  if (!keeps_base) {
    settings.push_back(detail::concat("\"init_lora_weights\": ", init.dump(),
                                      ", which changes the base (PEFT can save such an adapter "
                                      "for the unchanged one: "
                                      "path_initial_model_for_weight_conversion)"));
  }
}

double positive_number(const ordered_json& value, std::string_view what) {
  const double number = value.is_number() ? value.get<double>() : 0.0;
  SHIRA_CHECK(IoError, number > 0 && std::isfinite(number), what, " is ",
              detail::quote(value.dump()), ", expected a number above 0.");
  return number;
}

Patterns patterns_at(const ordered_json& config, const char* key) {
  Patterns patterns;
  if (!config.contains(key) || detail::is_unset(config[key])) return patterns;
  SHIRA_CHECK(IoError, config[key].is_object(), key, " is no object.");
  for (const auto& [expression, value] : config[key].items()) {
    patterns.emplace_back(detail::PeftPattern(expression), positive_number(value, key));
  }
  return patterns;
}

bool targets_all_named(const ordered_json& config) {
  return std::ranges::all_of(
      std::initializer_list<const char*>{"exclude_modules", "layers_to_transform"},
      [&](const char* key) { return !config.contains(key) || config[key].is_null(); });
}

LoraConfig read_lora_config(const std::filesystem::path& directory) {
  const ordered_json config = detail::read_adapter_config(directory);
  return detail::with_place((directory / detail::kPeftConfigName).string(), [&] {
    const std::string type = detail::text_at(config, "peft_type");
    SHIRA_CHECK(IoError, type == "LORA", "peft_type is ", detail::quote(type), ", expected LORA.");
    std::vector<std::string> settings = detail::unknown_settings(config, kKnownKeys);
    add_unsupported_values(config, settings);
    detail::check_supported(settings);
    SHIRA_CHECK(IoError, config.contains("lora_alpha"), "has no lora_alpha.");
    return LoraConfig{
        detail::text_at(config, "base_model_name_or_path"),
        static_cast<double>(detail::positive_count(config, "r")),
        positive_number(config["lora_alpha"], "lora_alpha"),
        patterns_at(config, "rank_pattern"),
        patterns_at(config, "alpha_pattern"),
        detail::flag_at(config, "use_rslora"),
        detail::flag_at(config, "use_dora"),
        targets_all_named(config) ? detail::target_suffixes(config) : std::vector<std::string>()};
  });
}

double value_for(const std::string& module, const Patterns& patterns, double fallback) {
  for (const auto& [pattern, value] : patterns) {
    if (pattern.matches(module)) return value;
  }
  return fallback;
}

// --- Tensors ------------------------------------------------------------------------------------

void check_float(const TensorView& view, std::string_view role) {
  const bool is_float =
      view.dtype == DType::kF32 || view.dtype == DType::kBF16 || view.dtype == DType::kF16;
  SHIRA_CHECK(IoError, is_float, "its ", role, " is ", dtype_name(view.dtype),
              ", expected F32, BF16 or F16.");
  for (const std::int64_t size : view.shape) {
    SHIRA_CHECK(IoError, size > 0, "its ", role, " is empty.");
  }
}

/// (r, in) and (out, r), or (r, in, kh, kw) and (out, r, 1, 1).
void check_factors(const PeftLoraTensor& tensor, double r) {
  const Shape &a = tensor.a.shape, &b = tensor.b.shape;
  check_float(tensor.a, "lora_A");
  check_float(tensor.b, "lora_B");
  const bool is_linear = a.size() == 2 && b.size() == 2;
  const bool is_conv = a.size() == 4 && b.size() == 4 && b[2] == 1 && b[3] == 1;
  SHIRA_CHECK(IoError, (is_linear || is_conv) && a[0] == b[1],
              "its lora_A and lora_B are no product: expected (r, in) and (out, r), or (r, in, kh, "
              "kw) and (out, r, 1, 1).");
  SHIRA_CHECK(IoError, static_cast<double>(a[0]) == r, "its rank is ", a[0], ", but ", r,
              " in the configuration (r, rank_pattern).");
}

void check_magnitude(const PeftLoraTensor& tensor, bool use_dora) {
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

PeftLoraTensor read_lora_tensor(const LoraConfig& config, const std::string& module,
                                const detail::PeftModules::mapped_type& tensors) {
  const double r = value_for(module, config.ranks, config.r);
  const double alpha = value_for(module, config.alphas, config.alpha);
  PeftLoraTensor tensor{module + ".weight", detail::tensor_of(tensors, "lora_A.weight"),
                        detail::tensor_of(tensors, "lora_B.weight"), std::nullopt,
                        alpha / (config.use_rslora ? std::sqrt(r) : r)};
  const auto magnitude = tensors.find("lora_magnitude_vector");
  if (magnitude != tensors.end()) tensor.magnitude = magnitude->second;
  check_factors(tensor, r);
  check_magnitude(tensor, config.use_dora);
  return tensor;
}

// --- Writing ------------------------------------------------------------------------------------

std::string module_of(const PeftLoraTensor& tensor) {
  return tensor.name.substr(0, tensor.name.rfind('.'));
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

ordered_json lora_config(const PeftLoraFile& file, const std::string& task_type) {
  ordered_json r, alpha, ranks = ordered_json::object(), alphas = ordered_json::object();
  std::vector<std::string> modules;
  for (const PeftLoraTensor& tensor : file.tensors) {
    const auto rank = static_cast<double>(tensor.a.shape[0]);
    const ordered_json own_r = tensor.a.shape[0];
    const ordered_json own_alpha =
        short_number(alpha_of(tensor.scaling, file.use_rslora ? std::sqrt(rank) : rank));
    const std::string& module = modules.emplace_back(module_of(tensor));
    if (r.is_null()) r = own_r, alpha = own_alpha;
    if (own_r != r) ranks[module] = own_r;
    if (own_alpha != alpha) alphas[module] = own_alpha;
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

void write_lora_tensors(const std::filesystem::path& path, const PeftLoraFile& file) {
  std::vector<TensorBytes> bytes;
  const auto add = [&](const PeftLoraTensor& tensor, const char* role, const TensorView& view) {
    const std::string name = std::string(detail::kPeftPrefix) + module_of(tensor);
    bytes.push_back({name + role, view.dtype, view.shape, view.data});
  };
  for (const PeftLoraTensor& tensor : file.tensors) {
    add(tensor, ".lora_A.weight", tensor.a);
    add(tensor, ".lora_B.weight", tensor.b);
    if (tensor.magnitude) add(tensor, ".lora_magnitude_vector", *tensor.magnitude);
  }
  write_safetensors(path, bytes, {{"format", "pt"}});
}

}  // namespace

void write_peft_lora_file(const std::filesystem::path& directory, const PeftLoraFile& file,
                          const std::string& task_type) {
  SHIRA_CHECK(IoError, !file.tensors.empty(), directory.string(),
              ": a LoRA adapter without tensors cannot be written.");
  write_lora_tensors(directory / detail::kPeftTensorsName, file);
  write_file(directory / detail::kPeftConfigName, lora_config(file, task_type).dump(2) + "\n");
}

PeftLoraFile read_peft_lora_file(const std::filesystem::path& directory,
                                 const ParameterShapes* shapes) {
  const LoraConfig config = read_lora_config(directory);
  const SafetensorsFile file = detail::open_adapter_tensors(directory);
  PeftLoraFile adapter{
      .base_model = config.base_model, .tensors = {}, .use_rslora = config.use_rslora};
  detail::with_place(file.path().string(), [&] {
    const auto modules =
        detail::group_by_module(file, {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"});
    if (shapes != nullptr) detail::check_targets(config.target_suffixes, modules, *shapes);
    for (const auto& [module, tensors] : modules) {
      detail::with_place(detail::quote(module + ".weight"), [&] {
        adapter.tensors.push_back(read_lora_tensor(config, module, tensors));
      });
    }
  });
  return adapter;
}

}  // namespace shira
