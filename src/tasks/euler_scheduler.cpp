// Both samplers take a first-order step along (sample - clean) / sigma; the ancestral one steps
// further down and adds noise to come up again.
#include "model_prediction.h"
#include "noise_schedulers.h"
#include "sigma_schedule.h"
#include "timestep_spacing.h"

#include <ATen/Functions.h>

#include <algorithm>

namespace shira::detail {
namespace {

struct EulerSteps {
  std::vector<float> timesteps;
  torch::Tensor sigmas;  // one more: (steps + 1)
};

std::vector<double> euler_timesteps(const SchedulerConfig& config, std::int64_t steps) {
  const std::int64_t trained = config.num_train_timesteps;
  switch (config.timestep_spacing.value_or(TimestepSpacing::kLinspace)) {
    case TimestepSpacing::kLeading:
      return leading_timesteps(trained / steps, steps, config.steps_offset);
    case TimestepSpacing::kTrailing:
      return trailing_timesteps(trained, static_cast<double>(trained) / static_cast<double>(steps));
    case TimestepSpacing::kLinspace: break;
  }
  std::vector<double> timesteps = linspace_timesteps(trained, steps);
  for (double& timestep : timesteps) timestep = static_cast<float>(timestep);
  return timesteps;
}

EulerSteps euler_steps(const SchedulerConfig& config, std::int64_t steps) {
  const SigmaTable table(config);
  std::vector<double> timesteps = euler_timesteps(config, steps);
  std::vector<double> sigmas = table.sigmas_at(timesteps);
  if (config.use_karras_sigmas) {
    sigmas = karras_sigmas(config, sigmas.front(), sigmas.back(), steps);
    std::ranges::transform(sigmas, timesteps.begin(),
                           [&](double sigma) { return table.timestep_of(sigma); });
  }
  return {{timesteps.begin(), timesteps.end()}, with_final_sigma(config, table, sigmas)};
}

class EulerScheduler : public NoiseScheduler {
 public:
  EulerScheduler(const SchedulerConfig& config, EulerSteps steps, bool is_ancestral)
      : NoiseScheduler(std::move(steps.timesteps)),
        prediction_type_(config.prediction_type),
        starts_at_data_(config.timestep_spacing == TimestepSpacing::kLeading),
        is_ancestral_(is_ancestral),
        sigmas_(std::move(steps.sigmas)) {}

  double init_noise_sigma() const override {
    const torch::Tensor highest = sigmas_.max();
    return (starts_at_data_ ? (highest.square() + 1).sqrt() : highest).item<double>();
  }

  torch::Tensor scale_model_input(const torch::Tensor& sample, std::size_t i) const override {
    return sample / (sigma(i).square() + 1).sqrt();
  }

 private:
  torch::Tensor advance(const torch::Tensor& output, std::size_t i, const torch::Tensor& sample,
                        const std::optional<at::Generator>& generator) override {
    const torch::Tensor x = sample.to(torch::kFloat32);
    const torch::Tensor slope = (x - clean(output, x, sigma(i))) / sigma(i);
    if (!is_ancestral_) return (x + slope * (sigma(i + 1) - sigma(i))).to(output.scalar_type());
    const torch::Tensor from = sigma(i).square();
    const torch::Tensor to = sigma(i + 1).square();
    const torch::Tensor up = (to * (from - to) / from).sqrt();
    const torch::Tensor down = (to - up.square()).sqrt();
    const torch::Tensor moved = x + slope * (down - sigma(i));
    return (moved + random_like(output, generator) * up).to(output.scalar_type());
  }

  torch::Tensor clean(const torch::Tensor& output, const torch::Tensor& sample,
                      const torch::Tensor& sigma) const {
    switch (prediction_type_) {
      case PredictionType::kSample: return output;
      case PredictionType::kEpsilon: return sample - sigma * output;
      case PredictionType::kVPrediction: break;
    }
    const torch::Tensor variance = sigma.square() + 1;
    return output * (-sigma / variance.sqrt()) + sample / variance;
  }

  torch::Tensor sigma(std::size_t i) const { return sigmas_[static_cast<std::int64_t>(i)]; }

  PredictionType prediction_type_;
  bool starts_at_data_;  // clean samples of variance 1 count in the first sample's variance
  bool is_ancestral_;
  torch::Tensor sigmas_;
};

}  // namespace

std::unique_ptr<NoiseScheduler> make_euler(const SchedulerConfig& config, std::int64_t steps) {
  return std::make_unique<EulerScheduler>(config, euler_steps(config, steps), false);
}

std::unique_ptr<NoiseScheduler> make_euler_ancestral(const SchedulerConfig& config,
                                                     std::int64_t steps) {
  SchedulerConfig used = config;  // without what diffusers' class does not know
  used.use_karras_sigmas = false;
  used.final_sigmas_type = "zero";
  return std::make_unique<EulerScheduler>(used, euler_steps(used, steps), true);
}

}  // namespace shira::detail
