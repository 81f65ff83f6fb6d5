#include "model_prediction.h"

#include <shira/base/error.h>

#include <ATen/Functions.h>

namespace shira::detail {

torch::Tensor predicted_sample(PredictionType type, const torch::Tensor& output,
                               const torch::Tensor& sample, const NoiseRates& rates) {
  switch (type) {
    case PredictionType::kSample: return output;
    case PredictionType::kVPrediction: return rates.signal * sample - rates.sigma * output;
    case PredictionType::kEpsilon: break;
  }
  return (sample - rates.sigma * output) / rates.signal;
}

torch::Tensor predicted_noise(PredictionType type, const torch::Tensor& output,
                              const torch::Tensor& sample, const NoiseRates& rates) {
  switch (type) {
    case PredictionType::kSample: return (sample - rates.signal * output) / rates.sigma;
    case PredictionType::kVPrediction: return rates.signal * output + rates.sigma * sample;
    case PredictionType::kEpsilon: break;
  }
  return output;
}

void check_signal(const torch::Tensor& alphas_cumprod, std::int64_t timestep) {
  SHIRA_CHECK(
      ConfigError, alphas_cumprod[timestep].item<float>() > 0.0F, "timestep ", timestep,
      " holds no signal (zero SNR): this sampler cannot begin there with what the model "
      "predicts. Take timestep_spacing leading, or a model of prediction_type v_prediction.");
}

torch::Tensor random_like(const torch::Tensor& like,
                          const std::optional<at::Generator>& generator) {
  const torch::Device device = generator ? generator->device() : like.device();
  return at::randn(like.sizes(), generator, like.options().device(device)).to(like.device());
}

}  // namespace shira::detail
