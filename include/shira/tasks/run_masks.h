// The layers and entries that a run's configuration chooses.
#pragma once

#include <shira/base/export.h>
#include <shira/config/run_config.h>
#include <shira/data/data_loader.h>
#include <shira/methods/targets.h>
#include <shira/models/llama.h>
#include <shira/sparse/sparse_mask.h>

#include <vector>

namespace shira {

/// The layers of target_modules. Hooks alone may train a weight that another module shares.
SHIRA_API std::vector<LayerTarget> run_targets(const RunConfig& config, const Llama& model);

/// Whether the run's masks depend on its data.
SHIRA_API bool needs_calibration(const RunConfig& config);

/// The masks of `shira_mask`, by parameter name. `train_data` is read by grad and snip alone, and
/// may be null for the others. Warns where struct masks are far beyond the budget.
SHIRA_API MaskMap make_masks(const RunConfig& config, const Llama& model, DataLoader* train_data);

}  // namespace shira
