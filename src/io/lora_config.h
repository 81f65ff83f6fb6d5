// The settings of a LoRA adapter, PEFT's LoraConfig: adapter_config.json of PEFT's directories, or
// the header of diffusers' files. With what both readers check of the factors.
#pragma once

#include "peft_pattern.h"

#include <shira/io/peft_lora_file.h>

#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace shira::detail {

/// rank_pattern and alpha_pattern: the first match in the file's order counts.
using LoraPatterns = std::vector<std::pair<PeftPattern, double>>;

struct LoraConfig {
  std::string base_model;
  double r = 0, alpha = 0;
  LoraPatterns ranks, alphas;
  bool use_rslora = false;
  bool use_dora = false;
  std::vector<std::string> target_suffixes;  // empty where further settings leave layers out

  double rank_of(const std::string& module) const;
  /// alpha / r, or alpha / sqrt(r).
  double scaling_of(const std::string& module) const;
};

/// IoError lists the settings that are not supported.
LoraConfig parse_lora_config(const nlohmann::ordered_json& config);

/// "<module>" of the tensor's name.
std::string lora_module(const PeftLoraTensor& tensor);

/// The shape of the weight that checked factors are for: (out, in) or (out, in, kh, kw).
std::vector<std::int64_t> lora_weight_shape(const PeftLoraTensor& tensor);

/// The settings of at least one tensor: r and lora_alpha are the first one's, others have theirs in
/// rank_pattern and alpha_pattern, under `pattern_of` their module.
nlohmann::ordered_json lora_config_json(
    const PeftLoraFile& file, const std::string& task_type,
    const std::function<std::string(const std::string&)>& pattern_of);

/// IoError unless the factors are F32, BF16 or F16 and a product: (out, r) (r, in), or (out, r, 1,
/// 1) (r, in, kh, kw).
void check_lora_factors(const PeftLoraTensor& tensor);

/// IoError unless the factors have this rank.
void check_lora_rank(const PeftLoraTensor& tensor, double rank);

/// IoError unless the tensor has a magnitude exactly where `use_dora` says so, one for each of out.
void check_lora_magnitude(const PeftLoraTensor& tensor, bool use_dora);

}  // namespace shira::detail
