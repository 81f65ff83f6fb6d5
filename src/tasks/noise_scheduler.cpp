// The table of samplers and what each of them refuses.
#include "noise_schedulers.h"

#include <shira/base/error.h>
#include <shira/tasks/noise_scheduler.h>

#include <algorithm>

namespace shira {
namespace {

/// Settings that one sampler cannot honour, collected.
class Refusals {
 public:
  void expect(bool condition, const char* key, const std::string& what) {
    if (!condition) text_ += std::string("\n  ") + key + ": " + what;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void expect_no_thresholding(const SchedulerConfig& config, Refusals& refusals) {
  refusals.expect(!config.thresholding, "thresholding", "only false is supported");
}

void expect_noise_or_velocity(const SchedulerConfig& config, Refusals& refusals) {
  refusals.expect(config.prediction_type != PredictionType::kSample, "prediction_type",
                  "expected epsilon or v_prediction");
}

void expect_plain_sigmas(const SchedulerConfig& config, Refusals& refusals) {
  refusals.expect(!config.use_exponential_sigmas, "use_exponential_sigmas", "not supported");
  refusals.expect(!config.use_beta_sigmas, "use_beta_sigmas", "not supported");
  refusals.expect(config.final_sigmas_type == "zero" || config.final_sigmas_type == "sigma_min",
                  "final_sigmas_type", "expected zero or sigma_min");
}

void check_ddpm(const SchedulerConfig& config, Refusals& refusals) {
  const std::string& type = config.variance_type;
  refusals.expect(
      type.empty() || type == "fixed_small" || type == "fixed_small_log" || type == "fixed_large",
      "variance_type", "only fixed_small, fixed_small_log and fixed_large are supported");
  expect_no_thresholding(config, refusals);
}

void check_pndm(const SchedulerConfig& config, Refusals& refusals) {
  refusals.expect(config.skip_prk_steps, "skip_prk_steps",
                  "its Runge-Kutta steps are not supported: the file must say true");
  expect_noise_or_velocity(config, refusals);
}

void check_euler(const SchedulerConfig& config, Refusals& refusals) {
  expect_plain_sigmas(config, refusals);
  refusals.expect(config.interpolation_type == "linear", "interpolation_type",
                  "only linear is supported");
  refusals.expect(
      config.timestep_type == "discrete" || config.prediction_type != PredictionType::kVPrediction,
      "timestep_type", "only discrete is supported");
}

void check_dpm_solver(const SchedulerConfig& config, Refusals& refusals) {
  // What diffusers takes the names of other families' solvers for.
  const std::vector<std::string> types = {"midpoint", "heun", "logrho", "bh1", "bh2"};
  expect_plain_sigmas(config, refusals);
  expect_no_thresholding(config, refusals);
  refusals.expect(config.algorithm_type == "dpmsolver++" || config.algorithm_type == "deis",
                  "algorithm_type", "only dpmsolver++ is supported");
  refusals.expect(std::ranges::count(types, config.solver_type) > 0, "solver_type",
                  "only midpoint and heun are supported");
  refusals.expect(config.solver_order >= 1 && config.solver_order <= 3, "solver_order",
                  "expected 1, 2 or 3");
  refusals.expect(!config.variance_type.starts_with("learned"), "variance_type",
                  "learned variances are not supported");
  refusals.expect(!config.use_lu_lambdas, "use_lu_lambdas", "not supported");
  refusals.expect(!config.use_flow_sigmas, "use_flow_sigmas", "not supported");
  refusals.expect(!config.use_dynamic_shifting, "use_dynamic_shifting", "not supported");
}

struct Sampler {
  const char* name;
  const char* class_name;  // diffusers'
  void (*check)(const SchedulerConfig&, Refusals&);
  std::unique_ptr<NoiseScheduler> (*make)(const SchedulerConfig&, std::int64_t steps);
};

const std::vector<Sampler>& samplers() {
  static const std::vector<Sampler> table = {
      {"ddpm", "DDPMScheduler", check_ddpm, detail::make_ddpm},
      {"ddim", "DDIMScheduler", expect_no_thresholding, detail::make_ddim},
      {"pndm", "PNDMScheduler", check_pndm, detail::make_pndm},
      {"euler", "EulerDiscreteScheduler", check_euler, detail::make_euler},
      {"euler_ancestral", "EulerAncestralDiscreteScheduler", expect_noise_or_velocity,
       detail::make_euler_ancestral},
      {"dpmpp_2m", "DPMSolverMultistepScheduler", check_dpm_solver, detail::make_dpm_solver}};
  return table;
}

const Sampler& find_sampler(const SchedulerConfig& config, const std::string& name) {
  const auto found = std::ranges::find_if(samplers(), [&](const Sampler& sampler) {
    return name.empty() ? config.class_name == sampler.class_name : name == sampler.name;
  });
  std::string known;
  for (const std::string& each : noise_scheduler_names()) {
    known += (known.empty() ? "" : ", ") + each;
  }
  SHIRA_CHECK(ConfigError, found != samplers().end(),
              name.empty() ? "the model's own noise scheduler" : "the noise scheduler", " '",
              name.empty() ? config.class_name : name, "' is not supported; --scheduler takes ",
              known, ".");
  return *found;
}

}  // namespace

std::vector<std::string> noise_scheduler_names() {
  std::vector<std::string> names;
  for (const Sampler& sampler : samplers()) names.emplace_back(sampler.name);
  return names;
}

std::unique_ptr<NoiseScheduler> make_noise_scheduler(const SchedulerConfig& config,
                                                     const std::string& name, std::int64_t steps) {
  torch::NoGradGuard no_grad;
  const Sampler& sampler = find_sampler(config, name);
  Refusals refusals;
  sampler.check(config, refusals);
  SHIRA_CHECK(ConfigError, refusals.text().empty(), "the noise scheduler ", sampler.name,
              " cannot honour the model's scheduler_config.json:", refusals.text());
  SHIRA_CHECK(ConfigError, steps >= 1 && steps <= config.num_train_timesteps,
              "expected between 1 and ", config.num_train_timesteps,
              " steps, the timesteps that the model was trained on. Got ", steps, ".");
  return sampler.make(config, steps);
}

torch::Tensor NoiseScheduler::scale_model_input(const torch::Tensor& sample, std::size_t) const {
  return sample;
}

torch::Tensor NoiseScheduler::step(const torch::Tensor& model_output, std::size_t i,
                                   const torch::Tensor& sample,
                                   const std::optional<at::Generator>& generator) {
  torch::NoGradGuard no_grad;
  SHIRA_CHECK(Error, i == 0 || (i == next_ && i < timesteps_.size()), "step ", i, " of ",
              timesteps_.size(), " is out of order: step ", next_, " is due.");
  SHIRA_CHECK(ShapeError, model_output.sizes() == sample.sizes(), "the model's output has shape ",
              model_output.sizes(), ", but the sample ", sample.sizes(), ".");
  torch::Tensor result = advance(model_output, i, sample, generator);
  next_ = i + 1;
  return result;
}

}  // namespace shira
