// A random UNet of a few thousand weights with everything that Stable Diffusion XL has.
#pragma once

#include <shira/models/unet.h>

#include <ATen/Functions.h>

namespace shira {

/// Two resolutions; 2 heads of size 4 in the first, 4 of size 3 in the second.
inline UnetConfig tiny_unet_config() {
  UnetConfig config;
  config.down_blocks = {{8, 1, {1}, 2, true}, {12, 1, {2}, 4, false}};
  config.mid_block = {12, 2, {1}, 4};
  config.up_blocks = {{12, 2, {1, 1}, 4, true}, {8, 2, {1, 1}, 2, false}};
  config.context_width = 6;
  config.norm_groups = 4;
  config.addition_time_width = 4;
  config.addition_input_width = 2 * 4 + 5;  // two time_ids, a pooled text of 5
  return config;
}

inline Unet tiny_unet(const UnetConfig& config, torch::ScalarType dtype = torch::kFloat64) {
  return Unet(config, [dtype](const std::string&, at::IntArrayRef shape) {
    return (at::randn(shape, torch::kFloat64) * 0.4).to(dtype);
  });
}

struct UnetInputs {
  torch::Tensor sample, timesteps;
  UnetConditions conditions;
};

/// Of an odd size.
inline UnetInputs tiny_unet_inputs(std::int64_t batch = 2,
                                   torch::ScalarType dtype = torch::kFloat64) {
  const auto random = [dtype](at::IntArrayRef shape) {
    return at::randn(shape, torch::kFloat64).to(dtype);
  };
  return {random({batch, 4, 5, 3}),
          at::randint(1000, {batch}, torch::kInt64),
          {random({batch, 3, 6}), random({batch, 5}), at::randint(100, {batch, 2}).to(dtype)}};
}

inline torch::Tensor run_unet(Unet& model, const UnetInputs& inputs) {
  return model->forward(inputs.sample, inputs.timesteps, inputs.conditions);
}

}  // namespace shira
