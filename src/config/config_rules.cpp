// One function a rule.
#include "config_rules.h"

#include "config_keys.h"

#include <shira/base/error.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <tuple>

namespace shira::detail {
namespace {

// The entry that came last is the one to take back.
const Entry& later_one(const Entry& a, const Entry& b) {
  const auto position = [](const Entry& entry) {
    return std::tuple(entry.place.order, entry.place.line);
  };
  return position(a) < position(b) ? b : a;
}

void report_pair(const Entry& a, const Entry& b, std::string_view what, Problems& problems) {
  const Entry& later = later_one(a, b);
  const Entry& earlier = &later == &a ? b : a;
  const bool is_override = later.place.order > 0 && earlier.place.order == 0;
  const std::string way_out =
      is_override ? concat("; `--set ", earlier.key, "=` takes the file's back") : "";
  problems.add(later.place, later.key,
               concat(what, " ", earlier.key, ", expected one of the two", way_out));
}

void refuse_both(std::string_view a, std::string_view b, const GivenKeys& given,
                 Problems& problems) {
  const auto first = given.find(a), second = given.find(b);
  if (first == given.end() || second == given.end()) return;
  report_pair(first->second, second->second, "given together with", problems);
}

void apply_bf16(const GivenKeys& given, Problems& problems, RunConfig& config) {
  const auto alias = given.find("bf16");
  bool is_bf16 = false;
  if (alias == given.end() || !YAML::convert<bool>::decode(alias->second.value, is_bf16)) return;
  const auto dtype = given.find("base_dtype");
  if (dtype == given.end()) {
    if (is_bf16) config.base_dtype = "bfloat16";
  } else if (is_bf16 != (config.base_dtype == "bfloat16")) {
    report_pair(alias->second, dtype->second, "contradicts", problems);
  }
}

void refuse_without_effect(const GivenKeys& given, Problems& problems, const RunConfig& config,
                           bool trains_pictures) {
  if (problems.concern({"base_model", "adapter", "adapter_dir", "shira_mask"})) return;
  for (const auto& [key, entry] : given) {
    if (find_key(config_keys(), key) == nullptr) continue;
    const std::string reason = without_effect(key, config, trains_pictures);
    if (!reason.empty()) problems.add(entry.place, key, "has no effect " + reason);
  }
}

/// What compares held-out losses needs some.
void require_evaluations(const GivenKeys& given, Problems& problems, const RunConfig& config) {
  if (config.val_set_size > 0 && config.eval_steps > 0) return;
  if (problems.concern({"val_set_size", "eval_steps"})) return;
  for (const std::string_view key : {"early_stopping_patience", "load_best_model_at_end"}) {
    const auto entry = given.find(key);
    const bool is_on = key == "load_best_model_at_end" ? config.load_best_model_at_end
                                                       : config.early_stopping_patience.has_value();
    if (entry == given.end() || !is_on) continue;
    problems.add(entry->second.place, key, "needs evaluations: set val_set_size and eval_steps");
  }
}

void refuse_decay_of_hooks(const GivenKeys& given, Problems& problems, const RunConfig& config) {
  const auto decay = given.find("weight_decay");
  const bool trains_by_hooks = config.adapter == "shira" && config.shira_training == "hooks";
  if (decay == given.end() || !trains_by_hooks || config.weight_decay == 0) return;
  problems.add(decay->second.place, "weight_decay",
               "would move weights outside the masks with shira_training: hooks, expected 0 (or "
               "shira_training: packed)");
}

void report_missing(const GivenKeys& given, const Place& whole_file, Problems& problems,
                    bool trains_pictures) {
  Place place = whole_file;
  place.order = std::numeric_limits<int>::max();
  for (const Key<RunConfig>& key : config_keys()) {
    const bool is_needed = key.required || (key.name == "datasets" && !trains_pictures);
    if (is_needed && !given.contains(key.name))
      problems.add(place, key.name, "missing, expected a value");
  }
  if (trains_pictures && !given.contains("train_data_dir") &&
      !given.contains("instance_data_dir")) {
    problems.add(place, "train_data_dir",
                 "missing, expected it or instance_data_dir: a folder of pictures");
  }
}

/// What a key that is set wants beside it.
void require_beside(std::string_view key, bool is_set, std::string_view needed,
                    const GivenKeys& given, Problems& problems) {
  const auto entry = given.find(key);
  if (entry == given.end() || !is_set || given.contains(needed)) return;
  problems.add(entry->second.place, key, concat("needs ", needed, " beside it"));
}

void require_dreambooth(const GivenKeys& given, Problems& problems, const RunConfig& config) {
  require_beside("instance_data_dir", true, "instance_prompt", given, problems);
  const bool prior = config.with_prior_preservation;
  require_beside("with_prior_preservation", prior, "class_data_dir", given, problems);
  require_beside("with_prior_preservation", prior, "class_prompt", given, problems);
  const auto buckets = given.find("aspect_ratio_buckets");
  if (prior && config.aspect_ratio_buckets && buckets != given.end()) {
    problems.add(buckets->second.place, "aspect_ratio_buckets",
                 "not together with with_prior_preservation, whose batches hold pictures of both "
                 "kinds in one size, expected false");
  }
}

// --- Keys without effect, by family and adapter
// ------------------------------------------------------------

bool is_one_of(std::string_view key, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), key) != names.end();
}

bool is_of_text(std::string_view key) {
  return is_one_of(key, {"datasets", "sequence_len", "sample_packing", "chat_template",
                         "train_on_inputs", "sample_prompts"});
}

bool is_of_priors(std::string_view key) {
  return is_one_of(key,
                   {"class_data_dir", "class_prompt", "prior_loss_weight", "num_class_images"});
}

bool is_of_dreambooth(std::string_view key) {
  return is_one_of(key, {"instance_prompt", "with_prior_preservation"}) || is_of_priors(key);
}

bool is_of_pictures(std::string_view key) {
  return is_of_dreambooth(key) ||
         is_one_of(key, {"train_data_dir", "instance_data_dir", "resolution", "center_crop",
                         "random_flip", "aspect_ratio_buckets", "image_background",
                         "on_corrupt_image", "cache_latents", "prediction_type", "snr_gamma",
                         "noise_offset", "proportion_empty_prompts", "train_text_encoder",
                         "text_encoder_lr", "validation_prompts"});
}

std::string idle_in_family(std::string_view key, const RunConfig& config, bool trains_pictures) {
  if (!trains_pictures) {
    return is_of_pictures(key) ? "with a language model as base_model" : "";
  }
  if (is_of_text(key)) return "with a diffusers pipeline as base_model";
  if (is_of_dreambooth(key) && config.instance_data_dir.empty()) return "without instance_data_dir";
  if (key == "text_encoder_lr" && !config.train_text_encoder) return "without train_text_encoder";
  return is_of_priors(key) && !config.with_prior_preservation ? "without with_prior_preservation"
                                                              : "";
}

bool is_of_factors(std::string_view key) { return key.starts_with("lora_") || key == "use_rslora"; }

std::string idle_in_full(std::string_view key) {
  const bool is_of_adapter = key.starts_with("shira_") || is_of_factors(key) ||
                             key == "adapter_dir" || key == "export_formats";
  return is_of_adapter ? "with adapter: full, which trains every weight" : "";
}

std::string idle_in_shira(std::string_view key, const RunConfig& config) {
  if (is_of_factors(key)) return "with adapter: shira, which trains no factors";
  if (!key.starts_with("shira_") || key == "shira_training") return "";
  if (!config.adapter_dir.empty()) return "with adapter_dir, whose entries are trained";
  const std::string& mask = config.shira_mask;
  const bool is_budget = key == "shira_density" || key == "shira_r";
  if (is_budget && is_mask_file(mask)) return "with a file of masks";
  const bool is_foreign =
      (key == "shira_seed" && mask != "rand") || (key == "shira_wm_band" && mask != "wm") ||
      (key.starts_with("shira_struct_") && mask != "struct") ||
      (key.starts_with("shira_calibration_") && mask != "grad" && mask != "snip");
  return is_foreign ? "with shira_mask: " + mask : "";
}

/// Of lora and dora.
std::string idle_in_lora(std::string_view key, const RunConfig& config) {
  const std::string adapter = "with adapter: " + config.adapter;
  if (key.starts_with("shira_")) return adapter + ", which has no mask";
  if (key == "export_formats") return adapter + ", which is saved in PEFT's layout";
  const bool is_in_file =
      key == "lora_r" || key == "lora_alpha" || key == "use_rslora" || key == "target_modules";
  return is_in_file && !config.adapter_dir.empty() ? "with adapter_dir, whose factors are trained"
                                                   : "";
}

std::string idle_in_wm_dora(std::string_view key) {
  if (key == "adapter_dir") return "with adapter: wm_dora, whose factors no adapter holds";
  if (key == "lora_dropout") return "with adapter: wm_dora, which trains the weights' own entries";
  if (key == "shira_training") return "with adapter: wm_dora";
  const bool is_of_wm = key == "shira_density" || key == "shira_r" || key == "shira_wm_band";
  return key.starts_with("shira_") && !is_of_wm ? "with adapter: wm_dora, whose mask is wm" : "";
}

}  // namespace

std::string without_effect(std::string_view key, const RunConfig& config, bool trains_pictures) {
  if (std::string reason = idle_in_family(key, config, trains_pictures); !reason.empty()) {
    return reason;
  }
  if (config.adapter == "full") return idle_in_full(key);
  if (config.adapter == "shira") return idle_in_shira(key, config);
  if (config.adapter == "wm_dora") return idle_in_wm_dora(key);
  return idle_in_lora(key, config);
}

void apply_rules(const GivenKeys& given, const Place& whole_file, Problems& problems,
                 RunConfig& config) {
  const bool trains_pictures = is_text_to_image(config);
  refuse_both("shira_density", "shira_r", given, problems);
  refuse_both("warmup_steps", "warmup_ratio", given, problems);
  refuse_both("train_data_dir", "instance_data_dir", given, problems);
  apply_bf16(given, problems, config);
  refuse_without_effect(given, problems, config, trains_pictures);
  require_evaluations(given, problems, config);
  refuse_decay_of_hooks(given, problems, config);
  require_dreambooth(given, problems, config);
  report_missing(given, whole_file, problems, trains_pictures);
  const bool has_default_budget = !config.shira_r && !config.shira_density &&
                                  without_effect("shira_density", config, trains_pictures).empty();
  if (has_default_budget) config.shira_density = 0.01;
  if (config.early_stopping_patience && !given.contains("load_best_model_at_end")) {
    config.load_best_model_at_end = true;
  }
}

}  // namespace shira::detail
