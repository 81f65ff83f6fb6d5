// The parts of a diffusion pipeline's training run, made from its configuration; training_run.h has
// a language model's, and what both share.
#pragma once

#include <shira/base/export.h>
#include <shira/config/run_config.h>
#include <shira/tasks/diffusion_data.h>
#include <shira/tasks/diffusion_objective.h>
#include <shira/tasks/diffusion_pipeline.h>
#include <shira/tasks/run_method.h>
#include <shira/train/run_log.h>

#include <torch/nn/module.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace shira {

/// The base of a run, with the weights owned that the run writes (none where it is only looked at):
/// float32 for full training. `prediction_type` is put into its scheduler.
SHIRA_API DiffusionPipeline load_base_pipeline(const RunConfig& config, bool only_look = false);

/// What the run may train: the UNet, with train_text_encoder the text encoders too.
SHIRA_API std::shared_ptr<torch::nn::Module> trained_parts(const RunConfig& config,
                                                           const DiffusionPipeline& pipeline);

/// Makes the pictures of class_prompt that class_data_dir lacks of num_class_images (it is created
/// if need be), with the untrained pipeline and its own scheduler, as class-<n>.png under names
/// that are free. Before that, errors for targets and instance pictures that the run cannot use.
SHIRA_API void make_class_images(const RunConfig& config, DiffusionPipeline& pipeline);

/// The configured pictures, split; those of the class are all for training.
SHIRA_API ImageSplit load_pictures(const RunConfig& config);

SHIRA_API DiffusionData make_train_data(const RunConfig& config, const DiffusionPipeline& pipeline,
                                        std::vector<ImageSample> pictures);
/// The held-out pictures in their own order, each with the same noise every time; null when there
/// are none.
SHIRA_API std::unique_ptr<DiffusionData> make_validation_data(const RunConfig& config,
                                                              const DiffusionPipeline& pipeline,
                                                              std::vector<ImageSample> pictures);

SHIRA_API DiffusionObjectiveOptions objective_options(const RunConfig& config,
                                                      const DiffusionPipeline& pipeline);

/// What saves the pipeline with base_dtype's weights.
SHIRA_API SaveInto pipeline_saver(const RunConfig& config, const DiffusionPipeline& pipeline);

/// Draws the validation_prompts, always from the same noise, into output_dir/samples/step-<n>.png;
/// empty without prompts.
SHIRA_API std::function<std::vector<SampleText>(std::int64_t)> make_sample_pictures(
    const RunConfig& config, const DiffusionPipeline& pipeline);

}  // namespace shira
