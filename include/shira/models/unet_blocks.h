// What a UNet2DConditionModel is made of: attention, transformers over a picture's places, and
// blocks of one resolution. Module and parameter names are diffusers'.
#pragma once

#include <shira/base/export.h>
#include <shira/models/diffusion_blocks.h>
#include <shira/models/part_builder.h>
#include <shira/models/unet_config.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace shira {

/// Attention of `width` over a context.
class SHIRA_API UnetAttention : public torch::nn::Module {
 public:
  UnetAttention(const ParameterSource& source, const std::string& prefix, std::int64_t width,
                std::int64_t context_width, std::int64_t heads);
  /// `hidden` (B, T, width), `context` (B, S, context_width) -> (B, T, width).
  torch::Tensor forward(const torch::Tensor& hidden, const torch::Tensor& context);

  nn::Linear to_q{nullptr}, to_k{nullptr}, to_v{nullptr}, to_out{nullptr};

 private:
  std::int64_t heads_;
};

/// out(h * gelu(gate)), where `in` gives both (Shazeer 2020: GEGLU).
class SHIRA_API UnetFeedForward : public torch::nn::Module {
 public:
  UnetFeedForward(const ParameterSource& source, const std::string& prefix, std::int64_t width);
  torch::Tensor forward(const torch::Tensor& hidden);

  nn::Linear in{nullptr}, out{nullptr};  // net.0.proj and net.2
};

/// Attention to itself, to the text, and a feed-forward layer.
class SHIRA_API UnetTransformerBlock : public torch::nn::Module {
 public:
  UnetTransformerBlock(const ParameterSource& source, const std::string& prefix, std::int64_t width,
                       std::int64_t context_width, std::int64_t heads);
  torch::Tensor forward(torch::Tensor hidden, const torch::Tensor& context);

  nn::LayerNorm norm1{nullptr}, norm2{nullptr}, norm3{nullptr};
  std::shared_ptr<UnetAttention> attn1, attn2;
  std::shared_ptr<UnetFeedForward> ff;
};

/// Transformer blocks over all places of a picture (diffusers' Transformer2DModel).
class SHIRA_API UnetTransformer : public torch::nn::Module {
 public:
  UnetTransformer(const ParameterSource& source, const std::string& prefix,
                  const UnetConfig& config, const UnetBlockConfig& block, std::int64_t layers);
  /// `hidden` (B, channels, H, W), `context` (B, S, context_width) -> as `hidden`.
  torch::Tensor forward(const torch::Tensor& hidden, const torch::Tensor& context,
                        bool checkpointing);

  nn::GroupNorm norm{nullptr};
  std::shared_ptr<nn::Layer> proj_in, proj_out;  // Linear, or Conv2d of one pixel
  std::vector<std::shared_ptr<UnetTransformerBlock>> transformer_blocks;

 private:
  bool projects_places_;  // the projections are Linear
};

/// What every layer of a UNet reads besides its input.
struct UnetConditioning {
  torch::Tensor time;          // (B, time_width)
  torch::Tensor context;       // (B, S, context_width)
  bool checkpointing = false;  // of each resnet and each transformer block
};

enum class UnetResampling { kNone, kDown, kUp };

/// The layers of one resolution: resnets, a transformer after each where there are such, and a
/// resampler.
class SHIRA_API UnetBlock : public torch::nn::Module {
 public:
  /// `inputs`: the channels that go into each resnet. `output_scale`: of the resnets.
  UnetBlock(const ParameterSource& source, const std::string& prefix, const UnetConfig& config,
            const UnetBlockConfig& block, const std::vector<std::int64_t>& inputs,
            UnetResampling resampling, double output_scale = 1.0);

  /// Resnet `index` on the channels of `hidden`, one tensor or two (B, channels, H, W), and the
  /// transformer that follows it.
  torch::Tensor layer(std::size_t index, const std::vector<torch::Tensor>& hidden,
                      const UnetConditioning& conditioning);

  std::vector<std::shared_ptr<ResnetBlock2D>> resnets;
  std::vector<std::shared_ptr<UnetTransformer>> attentions;  // as many, fewer or none
  std::shared_ptr<Downsample2D> downsampler;                 // null: none
  std::shared_ptr<Upsample2D> upsampler;                     // null: none
};

}  // namespace shira
