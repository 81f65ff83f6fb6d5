// In the paper's terms a sample is alpha * clean + sigma * noise, lambda = log(alpha / sigma), and
// a step integrates over lambda with a polynomial through the last predictions of the clean sample.
#include "model_prediction.h"
#include "noise_schedulers.h"
#include "sigma_schedule.h"
#include "timestep_spacing.h"

#include <shira/base/error.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <deque>

namespace shira::detail {
namespace {

struct DpmSteps {
  std::vector<float> timesteps;
  torch::Tensor sigmas;  // one more: (steps + 1)
};

/// `steps` whole timesteps below `last`, in descending order.
std::vector<double> dpm_timesteps(const SchedulerConfig& config, std::int64_t last,
                                  std::int64_t steps) {
  const auto trained = static_cast<double>(config.num_train_timesteps);
  std::vector<double> timesteps;
  switch (config.timestep_spacing.value_or(TimestepSpacing::kLinspace)) {
    case TimestepSpacing::kTrailing:
      return trailing_timesteps(last, trained / static_cast<double>(steps));
    case TimestepSpacing::kLeading:
      timesteps = leading_timesteps(last / (steps + 1), steps + 1, config.steps_offset);
      break;
    case TimestepSpacing::kLinspace:
      timesteps = rounded(linspace_timesteps(last, steps + 1));
      break;
  }
  timesteps.pop_back();  // the one at 0
  return timesteps;
}

/// The timesteps of Karras' sigmas.
std::vector<double> timesteps_of(const SchedulerConfig& config, const SigmaTable& table,
                                 const std::vector<double>& sigmas) {
  const bool rounds = config.beta_schedule != "squaredcos_cap_v2";
  std::vector<double> timesteps;
  for (const double sigma : sigmas) {
    const double timestep = table.timestep_of(sigma);
    timesteps.push_back(rounds ? std::nearbyint(timestep) : std::trunc(timestep));
  }
  return timesteps;
}

DpmSteps dpm_steps(const SchedulerConfig& config, std::int64_t steps) {
  const SigmaTable table(config);
  std::vector<double> timesteps;
  std::vector<double> sigmas;
  if (config.use_karras_sigmas) {
    sigmas = karras_sigmas(config, table.sigmas().back(), table.sigmas().front(), steps);
    timesteps = timesteps_of(config, table, sigmas);
  } else {
    timesteps = dpm_timesteps(config, table.count_above(config.lambda_min_clipped), steps);
    sigmas = table.sigmas_at(timesteps);
  }
  DpmSteps result{{timesteps.begin(), timesteps.end()}, with_final_sigma(config, table, sigmas)};
  // The last step alone may be one of no length: Karras' last sigma is final_sigmas_type's
  // sigma_min.
  const torch::Tensor levels = result.sigmas.slice(0, 0, -1);
  const bool descends = levels.diff().lt(0).all().item<bool>();
  SHIRA_CHECK(ConfigError, !timesteps.empty() && descends, "the noise levels of ", steps,
              " steps do not all differ, as DPM-Solver++ needs it. Take fewer steps.");
  return result;
}

/// A noise level as the solver sees it.
struct Level {
  torch::Tensor alpha, sigma, lambda;
};

class DpmSolverScheduler : public NoiseScheduler {
 public:
  DpmSolverScheduler(const SchedulerConfig& config, DpmSteps steps)
      : NoiseScheduler(std::move(steps.timesteps)),
        config_(config),
        is_heun_(config.solver_type == "heun"),
        sigmas_(std::move(steps.sigmas)),
        ends_at_once_(sigmas_[-1].equal(sigmas_[-2])) {}

 private:
  torch::Tensor advance(const torch::Tensor& output, std::size_t i, const torch::Tensor& sample,
                        const std::optional<at::Generator>&) override {
    if (i == 0) predictions_.clear();
    const Level here = level(i);
    predictions_.push_front(
        predicted_sample(config_.prediction_type, output, sample, {here.alpha, here.sigma}));
    if (predictions_.size() > 3) predictions_.pop_back();
    const torch::Tensor x = sample.to(torch::kFloat32);
    const std::int64_t order = order_of(i);
    const torch::Tensor result = order == 1   ? first_order(x, i)
                                 : order == 2 ? second_order(x, i)
                                              : third_order(x, i);
    return result.to(predictions_[0].scalar_type());
  }

  /// As many earlier predictions as there are, but fewer at the end of a short trajectory.
  std::int64_t order_of(std::size_t i) const {
    const std::size_t left = timesteps().size() - 1 - i;
    const bool lowers = config_.lower_order_final && timesteps().size() < 15;
    const bool ends_low =
        config_.euler_at_final || lowers || ends_at_once_ || config_.final_sigmas_type == "zero";
    if (left == 0 && ends_low) return 1;
    const std::int64_t most = left == 1 && lowers ? 2 : 3;
    return std::min({config_.solver_order, static_cast<std::int64_t>(i) + 1, most});
  }

  Level level(std::size_t i) const {
    const torch::Tensor ratio = sigmas_[static_cast<std::int64_t>(i)];
    const torch::Tensor alpha = 1 / (ratio.square() + 1).sqrt();
    const torch::Tensor sigma = ratio * alpha;
    return {alpha, sigma, alpha.log() - sigma.log()};
  }

  torch::Tensor first_order(const torch::Tensor& x, std::size_t i) const {
    const Level to = level(i + 1);
    const Level from = level(i);
    const torch::Tensor h = to.lambda - from.lambda;
    return to.sigma / from.sigma * x - to.alpha * ((-h).exp() - 1.0) * predictions_[0];
  }

  torch::Tensor second_order(const torch::Tensor& x, std::size_t i) const {
    const Level to = level(i + 1);
    const Level from = level(i);
    const torch::Tensor h = to.lambda - from.lambda;
    const torch::Tensor ratio = (from.lambda - level(i - 1).lambda) / h;
    const torch::Tensor slope = 1.0 / ratio * (predictions_[0] - predictions_[1]);
    const torch::Tensor decay = (-h).exp() - 1.0;
    const torch::Tensor straight = to.sigma / from.sigma * x - to.alpha * decay * predictions_[0];
    return is_heun_ ? straight + to.alpha * (decay / h + 1.0) * slope
                    : straight - 0.5 * (to.alpha * decay) * slope;
  }

  torch::Tensor third_order(const torch::Tensor& x, std::size_t i) const {
    const Level to = level(i + 1);
    const Level from = level(i);
    const torch::Tensor h = to.lambda - from.lambda;
    const torch::Tensor r0 = (from.lambda - level(i - 1).lambda) / h;
    const torch::Tensor r1 = (level(i - 1).lambda - level(i - 2).lambda) / h;
    const torch::Tensor newer = 1.0 / r0 * (predictions_[0] - predictions_[1]);
    const torch::Tensor older = 1.0 / r1 * (predictions_[1] - predictions_[2]);
    const torch::Tensor slope = newer + r0 / (r0 + r1) * (newer - older);
    const torch::Tensor bend = 1.0 / (r0 + r1) * (newer - older);
    const torch::Tensor decay = (-h).exp() - 1.0;
    return to.sigma / from.sigma * x - to.alpha * decay * predictions_[0] +
           to.alpha * (decay / h + 1.0) * slope -
           to.alpha * (((-h).exp() - 1.0 + h) / h.square() - 0.5) * bend;
  }

  SchedulerConfig config_;
  bool is_heun_;
  torch::Tensor sigmas_;
  bool ends_at_once_;  // the last step has no length, which the higher orders would divide by
  std::deque<torch::Tensor> predictions_;  // of the clean sample, at most three, newest first
};

}  // namespace

std::unique_ptr<NoiseScheduler> make_dpm_solver(const SchedulerConfig& config, std::int64_t steps) {
  return std::make_unique<DpmSolverScheduler>(config, dpm_steps(config, steps));
}

}  // namespace shira::detail
