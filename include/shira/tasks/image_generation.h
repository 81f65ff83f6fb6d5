// Pictures from prompts, as diffusers' Stable Diffusion pipelines make them.
#pragma once

#include <shira/base/export.h>
#include <shira/io/picture.h>
#include <shira/tasks/diffusion_pipeline.h>

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace shira {

struct ImagineOptions {
  /// Without it: an empty prompt, or zeros where the pipeline says force_zeros_for_empty_prompt.
  std::optional<std::string> negative_prompt = std::nullopt;
  std::int64_t num_images = 1;  // of each prompt
  std::int64_t steps = 50;
  /// 1 or less: no guidance (Ho and Salimans 2022). Without it: 7.5, or SDXL's 5.
  std::optional<double> guidance_scale = std::nullopt;
  std::string scheduler = "";  // noise_scheduler_names(); empty: the pipeline's own
  std::int64_t height = 0;     // pixels; 0: the size that the UNet was trained for
  std::int64_t width = 0;
  /// Of the first noise and what the scheduler draws: with the same seed diffusers'
  /// torch.Generator("cpu").manual_seed(seed) draws the same.
  std::uint64_t seed = 0;
  /// The first noise (prompts * num_images, channels, h, w), not scaled; undefined: from the seed.
  torch::Tensor latents = {};
  /// Called after each step of `steps`.
  std::function<void(std::int64_t step, std::int64_t steps)> on_step = nullptr;
};

struct Imagined {
  torch::Tensor pixels;    // (B, 3, H, W) float32 in [0, 1]; a prompt's images after one another
  torch::Tensor noise;     // (B, channels, h, w), what it began with
  torch::Tensor denoised;  // (B, channels, h, w), what the autoencoder decoded, times its factor
};

/// ConfigError for options that do not fit the pipeline.
SHIRA_API Imagined imagine(DiffusionPipeline& pipeline, const std::vector<std::string>& prompts,
                           const ImagineOptions& options = {});

/// One of Imagined's pixels, (3, H, W), rounded to 8 bits as diffusers does.
SHIRA_API Picture to_picture(const torch::Tensor& pixels);

/// Pictures of one size in rows of `columns`, with a thin white line between them.
SHIRA_API Picture picture_grid(const std::vector<Picture>& pictures, int columns);

}  // namespace shira
