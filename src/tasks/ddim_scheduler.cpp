#include "model_prediction.h"
#include "noise_schedulers.h"
#include "timestep_spacing.h"

#include <shira/tasks/noise_schedule.h>

#include <ATen/Functions.h>

namespace shira::detail {
namespace {

class DdimScheduler : public NoiseScheduler {
 public:
  DdimScheduler(const SchedulerConfig& config, std::int64_t steps,
                const std::vector<std::int64_t>& timesteps)
      : NoiseScheduler({timesteps.begin(), timesteps.end()}),
        config_(config),
        stride_(config.num_train_timesteps / steps),
        alphas_cumprod_(NoiseSchedule(config).alphas_cumprod()),
        final_(config.set_alpha_to_one.value_or(true) ? at::scalar_tensor(1.0F)
                                                      : alphas_cumprod_[0]) {
    if (config.prediction_type == PredictionType::kEpsilon) {
      check_signal(alphas_cumprod_, timesteps.front());
    }
  }

 private:
  torch::Tensor advance(const torch::Tensor& output, std::size_t i, const torch::Tensor& sample,
                        const std::optional<at::Generator>&) override {
    const auto timestep = static_cast<std::int64_t>(timesteps()[i]);
    const torch::Tensor product = alphas_cumprod_[timestep];
    const torch::Tensor next = timestep >= stride_ ? alphas_cumprod_[timestep - stride_] : final_;
    const NoiseRates rates{product.sqrt(), (1 - product).sqrt()};
    torch::Tensor clean = predicted_sample(config_.prediction_type, output, sample, rates);
    if (config_.clip_sample) {
      clean = clean.clamp(-config_.clip_sample_range, config_.clip_sample_range);
    }
    const torch::Tensor noise = predicted_noise(config_.prediction_type, output, sample, rates);
    return next.sqrt() * clean + (1 - next).sqrt() * noise;
  }

  SchedulerConfig config_;
  std::int64_t stride_;  // timesteps a step, whatever the spacing
  torch::Tensor alphas_cumprod_;
  torch::Tensor final_;  // takes the place of alphas_cumprod at timesteps below 0
};

}  // namespace

std::unique_ptr<NoiseScheduler> make_ddim(const SchedulerConfig& config, std::int64_t steps) {
  return std::make_unique<DdimScheduler>(config, steps, whole_timesteps(config, steps));
}

}  // namespace shira::detail
