// Samplers: from noise to a sample in n calls of the model, step for step as diffusers 0.42 does
// it.
//
//   auto scheduler = make_noise_scheduler(config, "euler", 30);
//   torch::Tensor x = noise * scheduler->init_noise_sigma();
//   for (std::size_t i = 0; i < scheduler->timesteps().size(); ++i) {
//     x = scheduler->step(model(scheduler->scale_model_input(x, i), scheduler->timesteps()[i]), i,
//     x);
//   }
#pragma once

#include <shira/base/export.h>
#include <shira/tasks/scheduler_config.h>

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace shira {

class SHIRA_API NoiseScheduler {
 public:
  virtual ~NoiseScheduler() = default;

  /// What the model is told in each call, in order; whole numbers except with Euler. PNDM has one
  /// more than there are steps.
  const std::vector<float>& timesteps() const { return timesteps_; }

  /// Standard deviation of the noise that the first step expects.
  virtual double init_noise_sigma() const { return 1.0; }

  /// What the model is called with at step i.
  virtual torch::Tensor scale_model_input(const torch::Tensor& sample, std::size_t i) const;

  /// The sample (B, ...) after step i, of the model's output of the same shape and of the unscaled
  /// sample. Steps run in order; step 0 begins a new trajectory. DDPM and Euler ancestral draw
  /// their noise from `generator` (the default one if none) as diffusers' randn_tensor does: on the
  /// generator's device, in the output's dtype. Error for a step out of order, ShapeError for
  /// shapes that differ.
  torch::Tensor step(const torch::Tensor& model_output, std::size_t i, const torch::Tensor& sample,
                     const std::optional<at::Generator>& generator = std::nullopt);

 protected:
  explicit NoiseScheduler(std::vector<float> timesteps) : timesteps_(std::move(timesteps)) {}

 private:
  virtual torch::Tensor advance(const torch::Tensor& model_output, std::size_t i,
                                const torch::Tensor& sample,
                                const std::optional<at::Generator>& generator) = 0;

  std::vector<float> timesteps_;
  std::size_t next_ = 0;  // the step that is due
};

/// The names that make_noise_scheduler knows: ddpm, ddim, pndm, euler, euler_ancestral, dpmpp_2m
/// (DPM-Solver++ multistep, of the config's solver_order).
SHIRA_API std::vector<std::string> noise_scheduler_names();

/// The sampler `name` for `steps` steps; an empty name takes the config's own class. One
/// ConfigError with every setting of the config that this sampler cannot honour, and for more steps
/// than it can take.
SHIRA_API std::unique_ptr<NoiseScheduler> make_noise_scheduler(const SchedulerConfig& config,
                                                               const std::string& name,
                                                               std::int64_t steps);

}  // namespace shira
