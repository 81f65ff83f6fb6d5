// AutoencoderKL: between pictures and the latents that a UNet works on (Rombach et al. 2022).
// Module and parameter names are diffusers'; those of the attention in files of 2022 are renamed on
// loading.
#pragma once

#include <shira/base/export.h>
#include <shira/models/diffusion_blocks.h>
#include <shira/models/load_options.h>
#include <shira/models/part_builder.h>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace shira {

/// The values that shape a model; the defaults are diffusers'.
struct AutoencoderKlConfig {
  std::int64_t in_channels = 3;
  std::int64_t out_channels = 3;
  std::int64_t latent_channels = 4;
  std::vector<std::int64_t> block_out_channels = {64};  // a halving of the size between them
  std::int64_t layers_per_block = 1;
  std::int64_t norm_num_groups = 32;
  std::int64_t sample_size = 32;    // pixels of a side; of a tile, where there are tiles
  double scaling_factor = 0.18215;  // a UNet's latents are the autoencoder's times this
  bool force_upcast = true;         // to float32: float16 overflows
  bool use_quant_conv = true;
  bool use_post_quant_conv = true;
  bool mid_block_add_attention = true;

  /// Pixels of a side for each latent's.
  std::int64_t factor() const { return std::int64_t{1} << (block_out_channels.size() - 1); }
};

/// Reads `directory`/config.json. IoError when it is missing or no JSON; ConfigError listing every
/// value that this implementation does not support.
SHIRA_API AutoencoderKlConfig read_autoencoder_kl_config(const std::filesystem::path& directory);

/// What a picture is encoded to: a normal distribution of each latent value.
struct SHIRA_API LatentDistribution {
  torch::Tensor mean;    // (B, latent_channels, h, w)
  torch::Tensor logvar;  // between -30 and 20

  /// mean + exp(logvar / 2) * noise, `noise` a standard normal sample of the same shape.
  torch::Tensor sample(const torch::Tensor& noise) const;
};

/// A resnet, attention of one head over all places, a resnet.
class SHIRA_API VaeMidBlock : public torch::nn::Module {
 public:
  VaeMidBlock(const ParameterSource& source, const std::string& prefix,
              const AutoencoderKlConfig& config);
  torch::Tensor forward(const torch::Tensor& hidden);

  std::shared_ptr<ResnetBlock2D> first, last;
  nn::GroupNorm group_norm{nullptr};  // of the attention; null without it, as what follows
  nn::Linear to_q{nullptr}, to_k{nullptr}, to_v{nullptr}, to_out{nullptr};
};

/// Resnets at one size, then a change of size.
struct VaeLevel {
  std::vector<std::shared_ptr<ResnetBlock2D>> resnets;
  std::shared_ptr<Downsample2D> down;  // null at the smallest size
  std::shared_ptr<Upsample2D> up;      // null at the largest size
};

class SHIRA_API VaeEncoder : public torch::nn::Module {
 public:
  VaeEncoder(const ParameterSource& source, const std::string& prefix,
             const AutoencoderKlConfig& config);
  /// (B, in_channels, H, W) -> (B, 2 latent_channels, h, w).
  torch::Tensor forward(const torch::Tensor& pixels);

 private:
  nn::Conv2d conv_in_{nullptr}, conv_out_{nullptr};
  std::vector<VaeLevel> levels_;
  std::shared_ptr<VaeMidBlock> mid_block_;
  nn::GroupNorm conv_norm_out_{nullptr};
};

class SHIRA_API VaeDecoder : public torch::nn::Module {
 public:
  VaeDecoder(const ParameterSource& source, const std::string& prefix,
             const AutoencoderKlConfig& config);
  /// (B, latent_channels, h, w) -> (B, out_channels, H, W).
  torch::Tensor forward(const torch::Tensor& latents);

 private:
  nn::Conv2d conv_in_{nullptr}, conv_out_{nullptr};
  std::vector<VaeLevel> levels_;
  std::shared_ptr<VaeMidBlock> mid_block_;
  nn::GroupNorm conv_norm_out_{nullptr};
};

class SHIRA_API AutoencoderKlImpl : public torch::nn::Module {
 public:
  AutoencoderKlImpl(const AutoencoderKlConfig& config, const ParameterSource& source);

  at::Device device() const;
  /// `pixels` (B, in_channels, H, W) between -1 and 1, on any device and of any floating dtype;
  /// H and W at least factor(); what is over a multiple of it is cut. One picture after another:
  /// memory does not grow with B. ShapeError also for a last tile smaller than factor().
  LatentDistribution encode(const torch::Tensor& pixels);
  /// `latents` (B, latent_channels, h, w), not scaled -> (B, out_channels, H, W), about -1 to 1.
  torch::Tensor decode(const torch::Tensor& latents);

  const AutoencoderKlConfig config;
  std::shared_ptr<VaeEncoder> encoder;
  std::shared_ptr<VaeDecoder> decoder;
  nn::Conv2d quant_conv{nullptr}, post_quant_conv{nullptr};  // null where the config has none
  /// Pictures larger than sample_size go through in overlapping tiles, blended, as diffusers'
  /// enable_tiling does: memory does not grow with their size. ShapeError where tiles of that size
  /// are a single latent, which cannot overlap.
  bool tiling = false;

 private:
  torch::Tensor encode_tile(const torch::Tensor& pixels);
  torch::Tensor decode_tile(const torch::Tensor& latents);
};
TORCH_MODULE(AutoencoderKl);

/// Loads config.json and the weights. One IoError lists all missing, unexpected and mis-shaped
/// tensors. By default no weight is writable.
SHIRA_API AutoencoderKl load_autoencoder_kl(const std::filesystem::path& directory,
                                            const LoadOptions& options = {});

}  // namespace shira
