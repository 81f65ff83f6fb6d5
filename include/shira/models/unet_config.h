// config.json of a UNet2DConditionModel, as diffusers writes it for Stable Diffusion 1, 2 and XL.
#pragma once

#include <shira/base/export.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace shira {

/// One resolution on the way down, on the way up, or the middle.
struct UnetBlockConfig {
  std::int64_t channels = 0;
  std::int64_t resnets = 0;
  /// Transformer blocks after each resnet (in the middle: between the two); empty: no attention.
  std::vector<std::int64_t> transformer_layers = {};
  std::int64_t heads = 0;  // of the attention: diffusers' attention_head_dim, its misnomer
  bool resamples = false;  // whether a down- or upsampler follows
};

/// What a class label of a sample is.
enum class ClassEmbedding {
  kNone,
  kTable,      // a number below num_class_embeds: a learned row
  kTimestep,   // a second timestep
  kProjection  // a vector of class_input_width values
};

/// The values that shape a model; missing keys of a file take diffusers' defaults.
struct UnetConfig {
  std::int64_t in_channels = 4;
  std::int64_t out_channels = 4;
  std::array<std::int64_t, 2> sample_size = {0, 0};  // latent (height, width); 0: not stated
  std::vector<UnetBlockConfig> down_blocks;
  UnetBlockConfig mid_block;
  std::vector<UnetBlockConfig> up_blocks;  // in the order of computation: smallest picture first

  std::int64_t context_width = 1280;  // cross_attention_dim
  std::int64_t norm_groups = 32;      // of the resnets' and the transformers' norms
  double norm_eps = 1e-5;             // of the resnets' norms
  double mid_block_scale_factor = 1.0;
  bool pads_after = false;             // downsample_padding 0: zeros below and to the right
  bool use_linear_projection = false;  // into and out of the transformers
  bool center_input_sample = false;    // sample -> 2 sample - 1
  bool flip_sin_to_cos = true;         // the sinusoids of a timestep: cosines first
  double freq_shift = 0.0;

  /// addition_embed_type text_time: a pooled text and `time_ids`, each as a timestep of this
  /// width; 0: none.
  std::int64_t addition_time_width = 0;
  std::int64_t addition_input_width = 0;  // of pooled text and embedded time_ids together
  ClassEmbedding class_embedding = ClassEmbedding::kNone;
  std::int64_t num_class_embeds = 0;   // for kTable
  std::int64_t class_input_width = 0;  // for kProjection

  std::int64_t base_channels() const { return down_blocks.front().channels; }
  std::int64_t time_width() const { return 4 * base_channels(); }
};

/// Reads `directory`/config.json. IoError when it is missing or no JSON; ConfigError listing every
/// value, and every unknown key, that this implementation does not support.
SHIRA_API UnetConfig read_unet_config(const std::filesystem::path& directory);

}  // namespace shira
