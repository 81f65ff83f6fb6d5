// What a diffusion model learns: to tell the noise from the picture (Ho et al. 2020).
#pragma once

#include <shira/base/export.h>
#include <shira/tasks/diffusion_pipeline.h>
#include <shira/tasks/noise_schedule.h>
#include <shira/tasks/scheduler_config.h>
#include <shira/train/objective.h>

#include <torch/types.h>

#include <cstdint>
#include <optional>

namespace shira {

struct DiffusionObjectiveOptions {
  PredictionType prediction = PredictionType::kEpsilon;
  /// Weighs each timestep's loss by min(SNR, snr_gamma), relative to what it is predicted in (Hang
  /// et al. 2023, section 3.4); none: all alike.
  std::optional<double> snr_gamma = std::nullopt;
  double prior_loss_weight = 1.0;  // of samples that "is_prior" marks
};

/// The squared error of the UNet's prediction, over all latent values of the samples that are no
/// priors, as diffusers' training scripts have it.
///
/// A batch holds "latents" and "noise" (B, C, h, w), "timesteps" (B) int64; "context" (B, S, D), or
/// "input_ids" (B, S) (and "input_ids_2") where the text encoders are trained; for SDXL "pooled"
/// (B, P) beside a context, and "time_ids" (B, 6); with prior preservation "is_prior" (B) bool.
class SHIRA_API DiffusionObjective : public Objective {
 public:
  DiffusionObjective(DiffusionPipeline pipeline, const DiffusionObjectiveOptions& options);

  torch::Tensor loss_sum(const Batch& batch) override;
  std::int64_t term_count(const Batch& batch) const override;
  /// Pictures.
  std::int64_t item_count(const Batch& batch) const override;

 private:
  UnetConditions conditions(const Batch& batch);
  torch::Tensor target(const Batch& batch) const;
  torch::Tensor sample_weights(const Batch& batch) const;

  DiffusionPipeline pipeline_;
  NoiseSchedule schedule_;
  DiffusionObjectiveOptions options_;
};

}  // namespace shira
