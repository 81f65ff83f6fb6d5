#include "model_prediction.h"
#include "noise_schedulers.h"
#include "timestep_spacing.h"

#include <shira/tasks/noise_schedule.h>

#include <ATen/Functions.h>

#include <deque>
#include <utility>

namespace shira::detail {
namespace {

/// The second timestep is visited twice: the first two calls make one step of Heun's kind.
std::vector<float> with_second_twice(const std::vector<std::int64_t>& timesteps) {
  std::vector<float> result(timesteps.begin(), timesteps.end());
  if (result.size() > 1) result.insert(result.begin() + 1, result[1]);
  return result;
}

class PndmScheduler : public NoiseScheduler {
 public:
  PndmScheduler(const SchedulerConfig& config, std::int64_t steps,
                const std::vector<std::int64_t>& timesteps)
      : NoiseScheduler(with_second_twice(timesteps)),
        prediction_type_(config.prediction_type),
        stride_(config.num_train_timesteps / steps),
        alphas_cumprod_(NoiseSchedule(config).alphas_cumprod()),
        final_(config.set_alpha_to_one.value_or(false) ? at::scalar_tensor(1.0F)
                                                       : alphas_cumprod_[0]) {
    check_signal(alphas_cumprod_, timesteps.front());
  }

 private:
  torch::Tensor advance(const torch::Tensor& output, std::size_t i, const torch::Tensor& sample,
                        const std::optional<at::Generator>&) override {
    const auto timestep = static_cast<std::int64_t>(timesteps()[i]);
    if (i == 0) {
      outputs_ = {output};
      first_sample_ = sample;
      return move(sample, timestep, timestep - stride_, output);
    }
    if (i == 1) {  // the first step again, with the mean of both ends
      const torch::Tensor first_sample = std::exchange(first_sample_, {});
      return move(first_sample, timestep + stride_, timestep, (output + outputs_[0]) / 2);
    }
    outputs_.push_front(output);
    if (outputs_.size() > 4) outputs_.pop_back();
    return move(sample, timestep, timestep - stride_, extrapolated());
  }

  /// The Adams-Bashforth formula of the outputs so far, newest first (Liu et al. 2022, equation
  /// 12).
  torch::Tensor extrapolated() const {
    const auto& e = outputs_;
    if (e.size() == 2) return (3 * e[0] - e[1]) / 2;
    if (e.size() == 3) return (23 * e[0] - 16 * e[1] + 5 * e[2]) / 12;
    return 1.0 / 24 * (55 * e[0] - 59 * e[1] + 37 * e[2] - 9 * e[3]);
  }

  /// From timestep `from` to `to` along `output` (equation 9).
  torch::Tensor move(const torch::Tensor& sample, std::int64_t from, std::int64_t to,
                     const torch::Tensor& output) const {
    const torch::Tensor product = alphas_cumprod_[from];
    const torch::Tensor next = to >= 0 ? alphas_cumprod_[to] : final_;
    const torch::Tensor noise =
        predicted_noise(prediction_type_, output, sample, {product.sqrt(), (1 - product).sqrt()});
    const torch::Tensor divisor =
        product * (1 - next).sqrt() + (product * (1 - product) * next).sqrt();
    return (next / product).sqrt() * sample - (next - product) * noise / divisor;
  }

  PredictionType prediction_type_;
  std::int64_t stride_;  // timesteps a step, whatever the spacing
  torch::Tensor alphas_cumprod_;
  torch::Tensor final_;                // takes the place of alphas_cumprod at timesteps below 0
  std::deque<torch::Tensor> outputs_;  // at most four, newest first
  torch::Tensor first_sample_;         // between the calls 0 and 1
};

}  // namespace

std::unique_ptr<NoiseScheduler> make_pndm(const SchedulerConfig& config, std::int64_t steps) {
  SchedulerConfig used = config;
  used.rescale_betas_zero_snr = false;  // which diffusers' PNDM does not know
  return std::make_unique<PndmScheduler>(used, steps, whole_timesteps(used, steps));
}

}  // namespace shira::detail
