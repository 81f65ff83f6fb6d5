// A run's way of training, made from its configuration.
#pragma once

#include <shira/base/export.h>
#include <shira/config/run_config.h>
#include <shira/methods/training_method.h>
#include <shira/tasks/run_masks.h>

#include <torch/nn/module.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace shira {

/// Writes something into a directory that exists.
using SaveInto = std::function<void(const std::filesystem::path&)>;

/// What a method is made for.
struct RunModel {
  const torch::nn::Module& module;  // what may be trained
  CalibrationData calibration;      // of the training data
  SaveInto save;                    // the whole as a checkpoint, with base_dtype's weights
  std::string task_type;            // as PEFT spells it; empty: none
};

/// A run's method: what trains the model, and what saves the result into a directory (an adapter,
/// or a checkpoint for full training).
struct RunMethod {
  std::unique_ptr<TrainingMethod> method;
  SaveInto save_result;
  std::int64_t trained = 0;  // parameters
  std::int64_t total = 0;
  /// What a resumed run must share with the one before: the same entries of the same base.
  std::map<std::string, std::string> identity;
};

/// `resume_from`: the checkpoint whose masks or factors are taken instead of new ones; its base
/// checksums must fit `model`.
SHIRA_API RunMethod make_method(const RunConfig& config, const RunModel& model,
                                const std::optional<std::filesystem::path>& resume_from);

/// The parameters that a run of lora, dora or wm_dora trains for each target, by parameter name.
SHIRA_API std::map<std::string, std::int64_t> count_run_factors(const RunConfig& config,
                                                                const torch::nn::Module& model);

}  // namespace shira
