// Any scheduler_config.json is either refused with IoError or ConfigError, or every sampler that
// accepts it ends after its steps, and the schedule of training is one of finite numbers.
#include "fuzz_directory.h"
#include "mutation_driver.h"

#include <shira/base/error.h>
#include <shira/tasks/noise_schedule.h>
#include <shira/tasks/noise_scheduler.h>

#include <ATen/Functions.h>

#include <cmath>

namespace {

void run_samplers(const shira::SchedulerConfig& config) {
  const torch::Tensor start = at::ones({1, 2});
  for (const std::string& name : shira::noise_scheduler_names()) {
    try {
      const auto scheduler = shira::make_noise_scheduler(config, name, 3);
      if (!std::isfinite(scheduler->init_noise_sigma())) std::abort();
      torch::Tensor x = start;
      for (std::size_t i = 0; i < scheduler->timesteps().size(); ++i) {
        if (!std::isfinite(scheduler->timesteps()[i])) std::abort();
        x = scheduler->step(scheduler->scale_model_input(x, i), i, x);
      }
    } catch (const shira::ConfigError&) {
    }
  }
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {R"({"_class_name":"PNDMScheduler","beta_end":0.012,"beta_schedule":"scaled_linear",)"
          R"("beta_start":0.00085,"num_train_timesteps":20,"set_alpha_to_one":false,)"
          R"("skip_prk_steps":true,"steps_offset":1,"trained_betas":null,"clip_sample":false})",
          R"({"beta_schedule":"squaredcos_cap_v2","num_train_timesteps":20,)"
          R"("timestep_spacing":"trailing","rescale_betas_zero_snr":true,)"
          R"("prediction_type":"v_prediction","lambda_min_clipped":-Infinity})",
          R"({"trained_betas":[0.1,0.2,0.3,0.4],"num_train_timesteps":4,)"
          R"("use_karras_sigmas":true,"sigma_min":0.1,"sigma_max":9.0,"solver_order":3,)"
          R"("final_sigmas_type":"sigma_min","_use_default_values":["sigma_min"]})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const shira::FuzzDirectory directory;
  directory.write("scheduler_config.json", {reinterpret_cast<const char*>(data), size});
  try {
    const auto config = shira::read_scheduler_config(directory.path() / "scheduler_config.json");
    const torch::Tensor products = shira::NoiseSchedule(config).alphas_cumprod();
    if (!products.isfinite().all().item<bool>()) std::abort();
    if (config.num_train_timesteps <= 1000) run_samplers(config);
  } catch (const shira::IoError&) {
  } catch (const shira::ConfigError&) {
  }
  return 0;
}
