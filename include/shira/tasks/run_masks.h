// The layers and entries that a run's configuration chooses.
#pragma once

#include <shira/base/export.h>
#include <shira/config/run_config.h>
#include <shira/data/batch_source.h>
#include <shira/methods/targets.h>
#include <shira/sparse/sparse_mask.h>
#include <shira/train/objective.h>

#include <torch/nn/module.h>

#include <vector>

namespace shira {

/// The layers of target_modules. Hooks alone may train a weight that another module shares.
SHIRA_API std::vector<LayerTarget> run_targets(const RunConfig& config,
                                               const torch::nn::Module& model);

/// What grad and snip look at.
struct CalibrationData {
  Objective& objective;
  BatchSource& batches;
};

/// Whether the run's masks depend on its data.
SHIRA_API bool needs_calibration(const RunConfig& config);

/// The masks of `shira_mask`, by parameter name. `calibration` may be null for those that need
/// none. Warns where struct masks are far beyond the budget.
SHIRA_API MaskMap make_masks(const RunConfig& config, const torch::nn::Module& model,
                             const CalibrationData* calibration = nullptr);

}  // namespace shira
