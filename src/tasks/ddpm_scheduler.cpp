#include "model_prediction.h"
#include "noise_schedulers.h"
#include "timestep_spacing.h"

#include <shira/tasks/noise_schedule.h>

#include <ATen/Functions.h>

namespace shira::detail {
namespace {

class DdpmScheduler : public NoiseScheduler {
 public:
  DdpmScheduler(const SchedulerConfig& config, const std::vector<std::int64_t>& timesteps)
      : NoiseScheduler({timesteps.begin(), timesteps.end()}),
        config_(config),
        alphas_cumprod_(NoiseSchedule(config).alphas_cumprod()) {
    // A step divides by what it goes to, and to find the clean sample by where it comes from.
    const std::size_t first = config.prediction_type == PredictionType::kEpsilon ? 0 : 1;
    if (first < timesteps.size()) check_signal(alphas_cumprod_, timesteps[first]);
  }

 private:
  torch::Tensor advance(const torch::Tensor& output, std::size_t i, const torch::Tensor& sample,
                        const std::optional<at::Generator>& generator) override {
    const bool is_last = i + 1 == timesteps().size();
    const torch::Tensor product = alphas_cumprod_[static_cast<std::int64_t>(timesteps()[i])];
    const torch::Tensor next = is_last
                                   ? at::scalar_tensor(1.0F)
                                   : alphas_cumprod_[static_cast<std::int64_t>(timesteps()[i + 1])];
    const torch::Tensor kept = product / next;
    torch::Tensor clean = predicted_sample(config_.prediction_type, output, sample,
                                           {product.sqrt(), (1 - product).sqrt()});
    if (config_.clip_sample) {
      clean = clean.clamp(-config_.clip_sample_range, config_.clip_sample_range);
    }
    const torch::Tensor of_clean = next.sqrt() * (1 - kept) / (1 - product);
    const torch::Tensor of_sample = kept.sqrt() * (1 - next) / (1 - product);
    torch::Tensor result = of_clean * clean + of_sample * sample;
    if (timesteps()[i] == 0.0F) return result;
    return result + deviation(product, next) * random_like(output, generator);
  }

  /// Standard deviation of the noise that is added on the way from `product` to `next`.
  torch::Tensor deviation(const torch::Tensor& product, const torch::Tensor& next) const {
    const torch::Tensor beta = 1 - product / next;
    if (config_.variance_type == "fixed_large") return beta.sqrt();
    const torch::Tensor small = ((1 - next) / (1 - product) * beta).clamp_min(1e-20);
    return config_.variance_type == "fixed_small_log" ? (0.5 * small.log()).exp() : small.sqrt();
  }

  SchedulerConfig config_;
  torch::Tensor alphas_cumprod_;
};

}  // namespace

std::unique_ptr<NoiseScheduler> make_ddpm(const SchedulerConfig& config, std::int64_t steps) {
  return std::make_unique<DdpmScheduler>(config, whole_timesteps(config, steps));
}

}  // namespace shira::detail
