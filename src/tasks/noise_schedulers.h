// The samplers, one function a class of diffusers. Each takes a config that was found fit for it
// and 1 <= steps <= num_train_timesteps.
#pragma once

#include <shira/tasks/noise_scheduler.h>

namespace shira::detail {

/// Ho et al. 2020, algorithm 2.
std::unique_ptr<NoiseScheduler> make_ddpm(const SchedulerConfig& config, std::int64_t steps);

/// Song et al. 2020 with eta = 0: deterministic.
std::unique_ptr<NoiseScheduler> make_ddim(const SchedulerConfig& config, std::int64_t steps);

/// Liu et al. 2022 without its Runge-Kutta steps: a linear multistep method of order 4.
std::unique_ptr<NoiseScheduler> make_pndm(const SchedulerConfig& config, std::int64_t steps);

/// Karras et al. 2022, algorithm 2 without its second-order correction.
std::unique_ptr<NoiseScheduler> make_euler(const SchedulerConfig& config, std::int64_t steps);

/// The same with noise added in every step.
std::unique_ptr<NoiseScheduler> make_euler_ancestral(const SchedulerConfig& config,
                                                     std::int64_t steps);

/// Lu et al. 2022: DPM-Solver++, multistep, of order 1 to 3.
std::unique_ptr<NoiseScheduler> make_dpm_solver(const SchedulerConfig& config, std::int64_t steps);

}  // namespace shira::detail
