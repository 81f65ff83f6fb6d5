// Reading scheduler_config.json. Here is refused what nobody could use; what concerns one sampler
// alone is refused by make_noise_scheduler.
#include "io/strict_json.h"
#include "models/json_config.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/tasks/scheduler_config.h>

#include <algorithm>
#include <array>
#include <map>

namespace shira {
namespace {

using detail::JsonConfig;
using nlohmann::json;

/// Python writes -Infinity, Infinity and NaN, which JSON lacks: `text` with them as strings.
std::string quote_non_finite(const std::string& text) {
  static constexpr std::array<std::string_view, 3> kWords = {"-Infinity", "Infinity", "NaN"};
  std::string result;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::string_view rest = std::string_view(text).substr(i);
    const auto* word =
        std::ranges::find_if(kWords, [&](std::string_view w) { return rest.starts_with(w); });
    if (!in_string && word != kWords.end()) {
      result.append("\"").append(*word).append("\"");
      i += word->size();
      continue;
    }
    const bool escapes = in_string && text[i] == '\\' && i + 1 < text.size();
    if (text[i] == '"') in_string = !in_string;
    result.append(text, i, escapes ? 2 : 1);
    i += escapes ? 2 : 1;
  }
  return result;
}

/// The object in `file` without the keys that it lists as defaults of the class that wrote it.
json read_object(const std::filesystem::path& file) {
  json object;
  try {
    object = detail::parse_strict_json(quote_non_finite(read_file(file)));
  } catch (const IoError& error) {
    throw IoError(detail::concat(file.string(), ": ", error.what()));
  }
  SHIRA_CHECK(IoError, object.is_object(), file.string(), ": not a JSON object.");
  const json defaults = object.value("_use_default_values", json::array());
  for (const json& key : defaults) {
    if (key.is_string()) object.erase(key.get<std::string>());
  }
  return object;
}

/// The meaning of the word under `key`, if it is there.
template <typename T>
std::optional<T> read_word(JsonConfig& reader, const char* key,
                           const std::map<std::string, T>& meanings) {
  if (!reader.has(key)) return std::nullopt;
  const auto found = meanings.find(reader.get<std::string>(key, ""));
  std::string known;
  for (const auto& [word, meaning] : meanings) known += (known.empty() ? "" : ", ") + word;
  reader.expect(found != meanings.end(), key, "expected one of " + known);
  return found == meanings.end() ? std::nullopt : std::optional(found->second);
}

/// A number that float32 arithmetic is at ease with, if it is there.
std::optional<double> read_positive(JsonConfig& reader, const char* key) {
  if (!reader.has(key)) return std::nullopt;
  const auto value = reader.get<double>(key, 1.0);
  reader.expect(value >= 1e-6 && value <= 1e6, key, "expected a number between 1e-6 and 1e6");
  return value;
}

/// What float32 can take from 1.
constexpr double kSmallestBeta = 1e-7;

double read_beta(JsonConfig& reader, const char* key, double fallback) {
  const auto beta = reader.get<double>(key, fallback);
  reader.expect(beta >= kSmallestBeta && beta < 1.0, key, "expected a number between 1e-7 and 1");
  return beta;
}

std::vector<double> read_trained_betas(JsonConfig& reader, std::int64_t timesteps) {
  constexpr const char* kKey = "trained_betas";
  std::vector<double> betas;
  if (!reader.has(kKey)) return betas;
  const json& list = reader.at(kKey);
  const auto is_beta = [](const json& beta) {
    return beta.is_number() && beta.get<double>() >= kSmallestBeta && beta.get<double>() <= 1.0;
  };
  const bool usable = list.is_array() && list.size() == static_cast<std::size_t>(timesteps) &&
                      std::ranges::all_of(list, is_beta);
  reader.expect(usable, kKey, "expected num_train_timesteps numbers between 1e-7 and 1");
  return usable ? list.get<std::vector<double>>() : betas;
}

void read_forward_process(JsonConfig& reader, SchedulerConfig& config) {
  config.num_train_timesteps = reader.get("num_train_timesteps", config.num_train_timesteps);
  reader.expect(config.num_train_timesteps >= 1 && config.num_train_timesteps <= 100'000,
                "num_train_timesteps", "expected a number between 1 and 100000");
  config.beta_start = read_beta(reader, "beta_start", config.beta_start);
  config.beta_end = read_beta(reader, "beta_end", config.beta_end);
  config.trained_betas = read_trained_betas(reader, config.num_train_timesteps);
  config.beta_schedule = reader.get("beta_schedule", config.beta_schedule);
  reader.expect(config.beta_schedule == "linear" || config.beta_schedule == "scaled_linear" ||
                    config.beta_schedule == "squaredcos_cap_v2" || !config.trained_betas.empty(),
                "beta_schedule", "only linear, scaled_linear and squaredcos_cap_v2 are supported");
  config.rescale_betas_zero_snr = reader.get("rescale_betas_zero_snr", false);
  config.prediction_type =
      read_word(reader, "prediction_type", prediction_types()).value_or(config.prediction_type);
}

/// A key that may be left out, but that Python would read as false where it is null.
bool read_true(JsonConfig& reader, const char* key) {
  reader.expect(!reader.object().contains(key) || reader.has(key), key, "expected true or false");
  return reader.get(key, true);
}

void read_sampling(JsonConfig& reader, SchedulerConfig& config) {
  config.timestep_spacing = read_word<TimestepSpacing>(reader, "timestep_spacing",
                                                       {{"leading", TimestepSpacing::kLeading},
                                                        {"trailing", TimestepSpacing::kTrailing},
                                                        {"linspace", TimestepSpacing::kLinspace}});
  config.steps_offset = reader.get("steps_offset", config.steps_offset);
  reader.expect(config.steps_offset >= 0 && config.steps_offset < config.num_train_timesteps,
                "steps_offset", "expected a number between 0 and num_train_timesteps");
  config.clip_sample = read_true(reader, "clip_sample");
  config.clip_sample_range = read_positive(reader, "clip_sample_range").value_or(1.0);
  if (reader.object().contains("set_alpha_to_one")) {
    config.set_alpha_to_one = read_true(reader, "set_alpha_to_one");
  }
  config.skip_prk_steps = reader.get("skip_prk_steps", config.skip_prk_steps);
  config.variance_type = reader.get("variance_type", config.variance_type);
}

double read_lambda_min(JsonConfig& reader, double fallback) {
  constexpr const char* kKey = "lambda_min_clipped";
  if (reader.has(kKey) && reader.at(kKey) == "-Infinity") return fallback;
  return reader.get(kKey, fallback);
}

void read_sigmas(JsonConfig& reader, SchedulerConfig& config) {
  config.use_karras_sigmas = reader.get("use_karras_sigmas", config.use_karras_sigmas);
  config.sigma_min = read_positive(reader, "sigma_min");
  config.sigma_max = read_positive(reader, "sigma_max");
  reader.expect(!config.sigma_min || !config.sigma_max || *config.sigma_min < *config.sigma_max,
                "sigma_max", "expected more than sigma_min");
  config.final_sigmas_type = reader.get("final_sigmas_type", config.final_sigmas_type);
  config.solver_order = reader.get("solver_order", config.solver_order);
  config.algorithm_type = reader.get("algorithm_type", config.algorithm_type);
  config.solver_type = reader.get("solver_type", config.solver_type);
  config.lower_order_final = read_true(reader, "lower_order_final");
  config.euler_at_final = reader.get("euler_at_final", config.euler_at_final);
  config.lambda_min_clipped = read_lambda_min(reader, config.lambda_min_clipped);
}

void read_unsupported(JsonConfig& reader, SchedulerConfig& config) {
  config.thresholding = reader.get("thresholding", config.thresholding);
  config.use_exponential_sigmas = reader.get("use_exponential_sigmas", false);
  config.use_beta_sigmas = reader.get("use_beta_sigmas", false);
  config.use_lu_lambdas = reader.get("use_lu_lambdas", false);
  config.use_flow_sigmas = reader.get("use_flow_sigmas", false);
  config.use_dynamic_shifting = reader.get("use_dynamic_shifting", false);
  config.interpolation_type = reader.get("interpolation_type", config.interpolation_type);
  config.timestep_type = reader.get("timestep_type", config.timestep_type);
}

}  // namespace

const std::map<std::string, PredictionType>& prediction_types() {
  static const std::map<std::string, PredictionType> table = {
      {"epsilon", PredictionType::kEpsilon},
      {"sample", PredictionType::kSample},
      {"v_prediction", PredictionType::kVPrediction}};
  return table;
}

SchedulerConfig read_scheduler_config(const std::filesystem::path& file) {
  const json object = read_object(file);
  JsonConfig reader(object);
  SchedulerConfig config;
  config.class_name = reader.get("_class_name", config.class_name);
  read_forward_process(reader, config);
  read_sampling(reader, config);
  read_sigmas(reader, config);
  read_unsupported(reader, config);

  std::string problems;
  for (const std::string& text : reader.problems()) problems += "\n  " + text;
  SHIRA_CHECK(ConfigError, problems.empty(), file.string(),
              ": not a noise scheduler that this version can use:", problems);
  return config;
}

}  // namespace shira
