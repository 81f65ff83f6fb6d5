// The parts of a language model's training run, made from its configuration. The parts themselves
// know no RunConfig.
#pragma once

#include <shira/base/export.h>
#include <shira/config/run_config.h>
#include <shira/data/data_loader.h>
#include <shira/data/dataset.h>
#include <shira/models/llama.h>
#include <shira/tasks/run_masks.h>
#include <shira/tasks/run_method.h>
#include <shira/text/tokenizer.h>
#include <shira/train/optimizer.h>
#include <shira/train/trainer.h>

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace shira {

/// "float32", "bfloat16", "float16" to a dtype; nothing for "auto". ConfigError otherwise.
SHIRA_API std::optional<torch::ScalarType> parse_base_dtype(const std::string& name);

/// ConfigError where the run asks for a device that is not there.
SHIRA_API void check_device(const RunConfig& config);

/// The base model of a run, with its weights owned where the run writes them (lora and dora
/// write none): float32 for full training.
SHIRA_API Llama load_base(const RunConfig& config);

/// Writes `model` as a checkpoint with base_dtype's weights.
SHIRA_API SaveInto base_saver(const RunConfig& config, const Llama& model);

/// All samples of the configured data sets, split.
SHIRA_API DatasetSplit load_datasets(const RunConfig& config, const Tokenizer& tokenizer);

/// How the configuration batches the training samples.
SHIRA_API DataLoader make_train_loader(const RunConfig& config, std::vector<SampleSet> train);

/// The held-out samples in their own order; null when there are none.
SHIRA_API std::unique_ptr<DataLoader> make_validation_loader(const RunConfig& config,
                                                             std::vector<Sample> validation);

SHIRA_API std::unique_ptr<Optimizer> make_optimizer(const RunConfig& config,
                                                    const TrainingMethod& method);

/// Continues every one of sample_prompts with 64 greedy tokens; empty without prompts.
SHIRA_API std::function<std::vector<SampleText>(std::int64_t)> make_sample_texts(
    const RunConfig& config, const Llama& model, const Tokenizer& tokenizer);

/// What a run of either family counts and minimises.
SHIRA_API LogUnits run_units(const RunConfig& config);

SHIRA_API TrainerOptions trainer_options(const RunConfig& config, const RunMethod& method,
                                         std::optional<std::filesystem::path> resume_from);

}  // namespace shira
