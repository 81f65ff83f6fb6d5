// Noise levels of the samplers that count in sigma = sqrt((1 - abar) / abar): a sample is
// clean + sigma * noise (Karras et al. 2022). Arithmetic as numpy does it in diffusers: double,
// with float32 tables.
#pragma once

#include <shira/tasks/scheduler_config.h>

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace shira::detail {

/// The sigma of every training timestep, ascending.
class SigmaTable {
 public:
  /// With rescale_betas_zero_snr the last is 4096 instead of infinite. ConfigError when one is
  /// infinite all the same, or 0.
  explicit SigmaTable(const SchedulerConfig& config);

  const std::vector<float>& sigmas() const { return sigmas_; }

  /// Of timesteps between and beyond those of the table: numpy.interp.
  std::vector<double> sigmas_at(const std::vector<double>& timesteps) const;

  /// The timestep, not a whole one, whose log sigma is that of `sigma`.
  double timestep_of(double sigma) const;

  /// How many timesteps have a log(signal / noise) of at least `lambda`; all for -infinity.
  std::int64_t count_above(double lambda) const;

 private:
  torch::Tensor alphas_cumprod_;
  std::vector<float> sigmas_;
};

/// `steps` levels from `highest` to `lowest` (Karras et al. 2022, equation 5, rho = 7), or from and
/// to the config's sigma_max and sigma_min.
std::vector<double> karras_sigmas(const SchedulerConfig& config, double highest, double lowest,
                                  std::int64_t steps);

/// The levels of a trajectory, with the one after the last step by final_sigmas_type: F32,
/// (steps + 1).
torch::Tensor with_final_sigma(const SchedulerConfig& config, const SigmaTable& table,
                               const std::vector<double>& sigmas);

}  // namespace shira::detail
