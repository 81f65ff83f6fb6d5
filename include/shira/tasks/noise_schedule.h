// The forward process of a diffusion model: how noisy a training sample is at each timestep
// (Ho et al. 2020, equation 4), as diffusers' DDPMScheduler computes it.
#pragma once

#include <shira/base/export.h>
#include <shira/tasks/scheduler_config.h>

#include <torch/types.h>

namespace shira {

class SHIRA_API NoiseSchedule {
 public:
  /// ConfigError for an unknown beta_schedule or trained_betas of another number.
  explicit NoiseSchedule(const SchedulerConfig& config);

  std::int64_t num_timesteps() const { return alphas_cumprod_.size(0); }

  /// The product of (1 - beta) up to and with each timestep: (num_timesteps), F32, on the CPU.
  const torch::Tensor& alphas_cumprod() const { return alphas_cumprod_; }

  /// sqrt(abar_t) * samples + sqrt(1 - abar_t) * noise, one timestep (int64) a sample: `samples`
  /// and `noise` (B, ...), `timesteps` (B). ShapeError when they do not fit or a timestep is out of
  /// range, as in the functions below.
  torch::Tensor add_noise(const torch::Tensor& samples, const torch::Tensor& noise,
                          const torch::Tensor& timesteps) const;

  /// What a v_prediction model learns: sqrt(abar_t) * noise - sqrt(1 - abar_t) * samples.
  torch::Tensor velocity(const torch::Tensor& samples, const torch::Tensor& noise,
                         const torch::Tensor& timesteps) const;

  /// The signal-to-noise ratio abar_t / (1 - abar_t) of each timestep: (B), F32, on the CPU
  /// (Hang et al. 2023 weigh the loss with it).
  torch::Tensor snr(const torch::Tensor& timesteps) const;

 private:
  torch::Tensor alphas_cumprod_;
};

}  // namespace shira
