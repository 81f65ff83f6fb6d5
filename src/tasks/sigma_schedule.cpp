#include "sigma_schedule.h"

#include "timestep_spacing.h"

#include <shira/base/error.h>
#include <shira/tasks/noise_schedule.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

namespace shira::detail {

SigmaTable::SigmaTable(const SchedulerConfig& config)
    : alphas_cumprod_(NoiseSchedule(config).alphas_cumprod()) {
  if (config.rescale_betas_zero_snr) alphas_cumprod_[-1].fill_(0x1p-24);
  const torch::Tensor table = ((1 - alphas_cumprod_) / alphas_cumprod_).sqrt().contiguous();
  sigmas_.assign(table.const_data_ptr<float>(), table.const_data_ptr<float>() + table.numel());
  SHIRA_CHECK(ConfigError, sigmas_.front() > 0.0F && std::isfinite(sigmas_.back()),
              "the betas: expected some noise at the first timestep and some signal at the last "
              "(rescale_betas_zero_snr leaves a little). Got noise levels from ",
              sigmas_.front(), " to ", sigmas_.back(), ".");
}

std::vector<double> SigmaTable::sigmas_at(const std::vector<double>& timesteps) const {
  std::vector<double> values;
  for (double timestep : timesteps) {
    timestep = std::max(timestep, 0.0);
    const auto below = static_cast<std::size_t>(timestep);
    if (below + 1 >= sigmas_.size()) {
      values.push_back(sigmas_.back());
      continue;
    }
    const double low = sigmas_[below];
    const double slope = sigmas_[below + 1] - low;
    values.push_back(slope * (timestep - static_cast<double>(below)) + low);
  }
  return values;
}

double SigmaTable::timestep_of(double sigma) const {
  if (sigmas_.size() < 2) return 0.0;
  const double wanted = std::log(std::max(sigma, 1e-10));
  const auto log_of = [this](std::size_t i) { return std::log(sigmas_[i]); };
  std::size_t below = 0;
  while (below + 2 < sigmas_.size() && log_of(below + 1) <= wanted) ++below;
  const float low = log_of(below);
  const float span = low - log_of(below + 1);
  const double share = std::clamp((low - wanted) / span, 0.0, 1.0);
  const auto index = static_cast<double>(below);
  return (1 - share) * index + share * (index + 1);
}

std::int64_t SigmaTable::count_above(double lambda) const {
  const torch::Tensor lambdas = alphas_cumprod_.sqrt().log() - (1 - alphas_cumprod_).sqrt().log();
  return lambdas.numel() -
         at::searchsorted(lambdas.flip(0).contiguous(), lambda).item<std::int64_t>();
}

std::vector<double> karras_sigmas(const SchedulerConfig& config, double highest, double lowest,
                                  std::int64_t steps) {
  constexpr double kRho = 7.0;
  const double from = std::pow(config.sigma_max.value_or(highest), 1 / kRho);
  const double to = std::pow(config.sigma_min.value_or(lowest), 1 / kRho);
  std::vector<double> sigmas;
  for (const double share : linspace(0.0, 1.0, steps)) {
    sigmas.push_back(std::pow(from + share * (to - from), kRho));
  }
  return sigmas;
}

torch::Tensor with_final_sigma(const SchedulerConfig& config, const SigmaTable& table,
                               const std::vector<double>& sigmas) {
  std::vector<float> levels(sigmas.begin(), sigmas.end());
  levels.push_back(config.final_sigmas_type == "zero" ? 0.0F : table.sigmas().front());
  return at::tensor(levels, torch::kFloat32);
}

}  // namespace shira::detail
