// In float32 and in diffusers' order of operations, so that the tables are equal bit for bit.
#include <shira/base/error.h>
#include <shira/tasks/noise_schedule.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace shira {
namespace {

/// Nichol and Dhariwal 2021, equation 17.
double cosine_alpha_bar(double share) {
  return std::pow(std::cos((share + 0.008) / 1.008 * std::numbers::pi / 2), 2);
}

torch::Tensor cosine_betas(std::int64_t timesteps) {
  std::vector<double> betas;
  const auto count = static_cast<double>(timesteps);
  for (std::int64_t i = 0; i < timesteps; ++i) {
    const auto step = static_cast<double>(i);
    const double kept = cosine_alpha_bar((step + 1) / count) / cosine_alpha_bar(step / count);
    betas.push_back(std::min(1 - kept, 0.999));
  }
  return at::tensor(betas, torch::kFloat64).to(torch::kFloat32);
}

torch::Tensor make_betas(const SchedulerConfig& config) {
  const std::int64_t timesteps = config.num_train_timesteps;
  if (!config.trained_betas.empty()) {
    SHIRA_CHECK(ConfigError, config.trained_betas.size() == static_cast<std::size_t>(timesteps),
                "trained_betas: expected num_train_timesteps = ", timesteps, " numbers. Got ",
                config.trained_betas.size(), ".");
    return at::tensor(config.trained_betas, torch::kFloat64).to(torch::kFloat32);
  }
  if (config.beta_schedule == "linear") {
    return at::linspace(config.beta_start, config.beta_end, timesteps, torch::kFloat32);
  }
  if (config.beta_schedule == "scaled_linear") {
    return at::linspace(std::sqrt(config.beta_start), std::sqrt(config.beta_end), timesteps,
                        torch::kFloat32)
        .square();
  }
  SHIRA_CHECK(ConfigError, config.beta_schedule == "squaredcos_cap_v2", "beta_schedule: '",
              config.beta_schedule,
              "' is not supported. Expected linear, scaled_linear or squaredcos_cap_v2.");
  return cosine_betas(timesteps);
}

/// Lin et al. 2023, algorithm 1: the betas shifted and scaled so that the last timestep holds no
/// signal.
torch::Tensor rescale_to_zero_snr(const torch::Tensor& betas) {
  torch::Tensor roots = (1.0 - betas).cumprod(0).sqrt();
  const torch::Tensor first = roots[0].clone();
  const torch::Tensor last = roots[-1].clone();
  roots = (roots - last) * (first / (first - last));
  const torch::Tensor products = roots.square();
  const torch::Tensor ratios = products.slice(0, 1) / products.slice(0, 0, -1);
  return 1 - at::cat({products.slice(0, 0, 1), ratios});
}

/// `timesteps` on the CPU, after they were found to be one for each of `batch` and in range.
torch::Tensor checked_timesteps(const torch::Tensor& timesteps, std::int64_t batch,
                                std::int64_t limit) {
  SHIRA_CHECK(ShapeError,
              timesteps.dim() == 1 && timesteps.size(0) == batch && batch > 0 &&
                  timesteps.scalar_type() == torch::kInt64,
              "expected one int64 timestep for each of ", batch, " samples. Got ",
              timesteps.scalar_type(), " of shape ", timesteps.sizes(), ".");
  torch::Tensor on_cpu = timesteps.cpu();
  SHIRA_CHECK(ShapeError,
              on_cpu.min().item<std::int64_t>() >= 0 && on_cpu.max().item<std::int64_t>() < limit,
              "expected timesteps of at least 0 and below ", limit, ".");
  return on_cpu;
}

/// sqrt(abar) and sqrt(1 - abar) of each sample, in its dtype and shaped (B, 1, ...).
std::pair<torch::Tensor, torch::Tensor> rates(const torch::Tensor& alphas_cumprod,
                                              const torch::Tensor& samples,
                                              const torch::Tensor& noise,
                                              const torch::Tensor& timesteps) {
  SHIRA_CHECK(ShapeError, samples.dim() >= 1 && samples.sizes() == noise.sizes(),
              "expected noise of the samples' shape ", samples.sizes(), ". Got ", noise.sizes(),
              ".");
  const torch::Tensor steps = checked_timesteps(timesteps, samples.size(0), alphas_cumprod.size(0));
  std::vector<std::int64_t> shape(static_cast<std::size_t>(samples.dim()), 1);
  shape[0] = -1;
  const torch::Tensor products =
      alphas_cumprod.to(samples.scalar_type()).index_select(0, steps).view(shape);
  return {products.sqrt().to(samples.device()), (1 - products).sqrt().to(samples.device())};
}

}  // namespace

NoiseSchedule::NoiseSchedule(const SchedulerConfig& config) {
  torch::NoGradGuard no_grad;
  SHIRA_CHECK(ConfigError, config.num_train_timesteps >= 1,
              "num_train_timesteps: expected at least 1. Got ", config.num_train_timesteps, ".");
  torch::Tensor betas = make_betas(config);
  if (config.rescale_betas_zero_snr) betas = rescale_to_zero_snr(betas);
  alphas_cumprod_ = (1.0 - betas).cumprod(0);
  SHIRA_CHECK(
      ConfigError, alphas_cumprod_.isfinite().all().item<bool>(),
      "rescale_betas_zero_snr: these betas cannot be rescaled, the first timestep has as much "
      "noise as the last.");
}

torch::Tensor NoiseSchedule::add_noise(const torch::Tensor& samples, const torch::Tensor& noise,
                                       const torch::Tensor& timesteps) const {
  const auto [signal, sigma] = rates(alphas_cumprod_, samples, noise, timesteps);
  return signal * samples + sigma * noise;
}

torch::Tensor NoiseSchedule::velocity(const torch::Tensor& samples, const torch::Tensor& noise,
                                      const torch::Tensor& timesteps) const {
  const auto [signal, sigma] = rates(alphas_cumprod_, samples, noise, timesteps);
  return signal * noise - sigma * samples;
}

torch::Tensor NoiseSchedule::snr(const torch::Tensor& timesteps) const {
  const torch::Tensor steps = checked_timesteps(timesteps, timesteps.numel(), num_timesteps());
  const torch::Tensor products = alphas_cumprod_.index_select(0, steps);
  return (products.sqrt() / (1.0 - products).sqrt()).square();
}

}  // namespace shira
