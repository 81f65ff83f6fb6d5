// The table of masks.
#include "text_encoder_hint.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/mask_file.h>
#include <shira/tasks/run_masks.h>
#include <shira/tasks/training_run.h>
#include <shira/train/calibration.h>

#include <algorithm>
#include <set>

namespace shira {
namespace {

/// Struct masks have whole rows: on small tensors that may be far more than was asked for.
constexpr double kFarBeyondBudget = 1.25;

MaskBudget budget_of(const RunConfig& config) { return {config.shira_density, config.shira_r}; }

/// ConfigError for a mask of something that is no target.
MaskMap file_masks(const RunConfig& config, const std::vector<LayerTarget>& targets) {
  MaskMap masks = load_masks(config.shira_mask);
  std::set<std::string> names;
  for (const LayerTarget& target : targets) names.insert(target.parameter_name());
  for (const auto& [name, mask] : masks) {
    SHIRA_CHECK(ConfigError, names.contains(name), "shira_mask ", config.shira_mask, ": ", name,
                " is not among the target_modules. Add it there, or leave its mask out.");
  }
  return masks;
}

MaskBuilder mask_builder(const RunConfig& config, const std::vector<LayerTarget>& targets) {
  const MaskBudget budget = budget_of(config);
  if (is_mask_file(config.shira_mask)) return given_mask(file_masks(config, targets));
  if (config.shira_mask == "rand") {
    return rand_mask(budget, static_cast<std::uint64_t>(config.shira_seed));
  }
  if (config.shira_mask == "wm") return wm_mask(budget, config.shira_wm_band);
  if (config.shira_mask == "struct") {
    const auto axis = config.shira_struct_axis == "row" ? StructAxis::kRow : StructAxis::kColumn;
    return struct_mask(budget, axis, config.shira_struct_offset);
  }
  throw ConfigError("shira_mask: unknown mask '" + config.shira_mask +
                    "'. Known: struct, rand, wm, grad, snip, or a file.");
}

/// A shared weight is refused: its layer sees a part of its gradient only.
MaskMap calibrated_masks(const RunConfig& config, const torch::nn::Module& model,
                         const CalibrationData& calibration) {
  const auto targets = select_targets(model, config.target_modules);
  CalibrationOptions options;
  options.score = config.shira_mask == "grad" ? CalibrationScore::kGrad : CalibrationScore::kSnip;
  options.batches = config.shira_calibration_batches;
  options.memory_bytes = config.shira_calibration_memory * 1073741824.0;
  return calibrate_masks(targets, calibration.objective, calibration.batches, budget_of(config),
                         options);
}

void warn_beyond_budget(const MaskMap& masks, const MaskBudget& budget) {
  std::int64_t asked = 0, got = 0;
  for (const auto& [name, mask] : masks) {
    asked += mask_nnz(budget, mask.shape());
    got += mask.nnz();
  }
  if (static_cast<double>(got) <= kFarBeyondBudget * static_cast<double>(asked)) return;
  log_warning(detail::concat("struct masks train ", got, " entries where the budget asks for ",
                             asked,
                             ": the diagonals and one row of each tensor are more alone. "
                             "Raise shira_density or shira_r, or take another mask."));
}

}  // namespace

std::vector<LayerTarget> run_targets(const RunConfig& config, const torch::nn::Module& model) {
  const auto shared =
      config.shira_training == "hooks" ? SharedWeights::kAllowed : SharedWeights::kRefused;
  auto targets = with_text_encoder_hint(
      config, [&] { return select_targets(model, config.target_modules, shared); });
  const bool has_text_encoder = std::ranges::any_of(
      targets, [](const LayerTarget& target) { return target.name.starts_with("text_encoder"); });
  SHIRA_CHECK(ConfigError, has_text_encoder || !config.train_text_encoder,
              "train_text_encoder: target_modules names no layer of a text encoder. Add some of "
              "q_proj, k_proj, v_proj, out_proj, fc1, fc2, or set train_text_encoder to false.");
  return targets;
}

bool needs_calibration(const RunConfig& config) {
  return config.adapter == "shira" && config.adapter_dir.empty() &&
         (config.shira_mask == "grad" || config.shira_mask == "snip");
}

MaskMap make_masks(const RunConfig& config, const torch::nn::Module& model,
                   const CalibrationData* calibration) {
  if (!config.adapter_dir.empty()) return load_adapter(config.adapter_dir).masks();
  if (needs_calibration(config)) return calibrated_masks(config, model, *calibration);
  const auto targets = run_targets(config, model);
  // In the dtype of the run, one tensor at a time: `shira mask` leaves the model as it is stored.
  const auto dtype = parse_base_dtype(config.base_dtype);
  const MaskBuilder builder = mask_builder(config, targets);
  MaskMap masks = build_masks(target_weights(targets), [&](const auto& name, const auto& weight) {
    return builder(name, dtype ? weight.to(*dtype) : weight);
  });
  if (config.shira_mask == "struct") warn_beyond_budget(masks, budget_of(config));
  return masks;
}

}  // namespace shira
