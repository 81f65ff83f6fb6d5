// UNet2DConditionModel: Stable Diffusion's denoiser (Rombach et al. 2022; Podell et al. 2023).
// Module and parameter names are diffusers': down_blocks.0.attentions.0.proj_in.weight.
#pragma once

#include <shira/base/export.h>
#include <shira/models/part_builder.h>
#include <shira/models/unet_blocks.h>
#include <shira/models/unet_config.h>
#include <shira/nn/layers.h>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace shira {

/// What a picture shall show.
struct UnetConditions {
  torch::Tensor context;      // (B, S, context_width): the text encoder's states
  torch::Tensor text_embeds;  // (B, P): the pooled text, for text_time models alone
  torch::Tensor time_ids;     // (B, N): sizes and crops, for text_time models alone
  /// For models with a class embedding alone: (B) numbers or timesteps, or (B, width).
  torch::Tensor class_labels = {};
};

/// linear_2(silu(linear_1(x))).
class SHIRA_API UnetEmbedding : public torch::nn::Module {
 public:
  UnetEmbedding(const ParameterSource& source, const std::string& prefix, std::int64_t out,
                std::int64_t in);
  torch::Tensor forward(const torch::Tensor& input);

  nn::Linear linear_1{nullptr}, linear_2{nullptr};
};

class SHIRA_API UnetImpl : public torch::nn::Module {
 public:
  UnetImpl(const UnetConfig& config, const ParameterSource& source);

  /// Where the weights are: `to(torch::kCUDA)` moves them.
  at::Device device() const;
  /// What the noise in `sample` (B, in_channels, H, W), or whatever the model was trained to
  /// predict, is at `timesteps` (B) or one for all: (B, out_channels, H, W). Inputs may be on any
  /// device and of any floating dtype; the answer has the weights'. ShapeError for inputs that do
  /// not fit the config.
  torch::Tensor forward(const torch::Tensor& sample, const torch::Tensor& timesteps,
                        const UnetConditions& conditions);

  const UnetConfig config;
  nn::Conv2d conv_in{nullptr}, conv_out{nullptr};
  nn::GroupNorm conv_norm_out{nullptr};
  std::shared_ptr<UnetEmbedding> time_embedding;
  std::shared_ptr<UnetEmbedding> add_embedding;    // null but in text_time models
  std::shared_ptr<UnetEmbedding> class_embedding;  // of ClassEmbedding kTimestep and kProjection
  nn::Embedding class_table{nullptr};              // of ClassEmbedding kTable
  std::vector<std::shared_ptr<UnetBlock>> down_blocks, up_blocks;
  std::shared_ptr<UnetBlock> mid_block;
  /// Keeps the inputs alone of every resnet and transformer block for the backward pass
  /// (nn/checkpoint.h).
  bool gradient_checkpointing = false;

 private:
  void build_blocks(PartBuilder& build);
  torch::Tensor embed_time(const torch::Tensor& timesteps, const UnetConditions& conditions);
  torch::Tensor embed_class(const torch::Tensor& labels);
  torch::Tensor sinusoids(const torch::Tensor& timesteps, std::int64_t width) const;
};
TORCH_MODULE(Unet);

}  // namespace shira
