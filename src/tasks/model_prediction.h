// What a model's output says of the clean sample and of the noise, where the noisy sample is
// signal * clean + sigma * noise. The rates are 0-dim tensors, as in diffusers: a product with them
// keeps the sample's dtype.
#pragma once

#include <shira/tasks/scheduler_config.h>

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <optional>

namespace shira::detail {

struct NoiseRates {
  torch::Tensor signal;  // sqrt(abar)
  torch::Tensor sigma;   // sqrt(1 - abar)
};

torch::Tensor predicted_sample(PredictionType type, const torch::Tensor& output,
                               const torch::Tensor& sample, const NoiseRates& rates);

torch::Tensor predicted_noise(PredictionType type, const torch::Tensor& output,
                              const torch::Tensor& sample, const NoiseRates& rates);

/// ConfigError when the noisiest timestep in use holds no signal (zero SNR): a sampler that divides
/// by `alphas_cumprod` there gives infinities.
void check_signal(const torch::Tensor& alphas_cumprod, std::int64_t timestep);

/// diffusers' randn_tensor: made where the generator is, in the dtype of `like`, then moved to it.
torch::Tensor random_like(const torch::Tensor& like, const std::optional<at::Generator>& generator);

}  // namespace shira::detail
