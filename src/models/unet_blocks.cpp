// One function a layer, in the order of diffusers' Attention, FeedForward, BasicTransformerBlock,
// Transformer2DModel and CrossAttnDownBlock2D.
#include <shira/models/unet_blocks.h>
#include <shira/nn/attention.h>
#include <shira/nn/checkpoint.h>

#include <ATen/Functions.h>

namespace shira {
namespace {

constexpr double kLayerNormEps = 1e-5;
constexpr double kTransformerNormEps = 1e-6;
constexpr std::int64_t kFeedForwardFactor = 4;

/// block(inputs). Each block first sums the gradients of an input that it reads several times, so
/// that checkpointing gives the same bits.
torch::Tensor run_block(const nn::WideBlock& block, at::TensorList inputs, bool checkpointing) {
  if (checkpointing) return nn::checkpoint(block, inputs);
  std::vector<torch::Tensor> own;
  for (const torch::Tensor& input : inputs) own.push_back(at::alias(input));
  return block(own);
}

}  // namespace

UnetAttention::UnetAttention(const ParameterSource& source, const std::string& prefix,
                             std::int64_t width, std::int64_t context_width, std::int64_t heads)
    : heads_(heads) {
  PartBuilder build(*this, source, prefix);
  to_q = build.linear("to_q", width, width, /*bias=*/false);
  to_k = build.linear("to_k", width, context_width, /*bias=*/false);
  to_v = build.linear("to_v", width, context_width, /*bias=*/false);
  to_out = build.linear("to_out.0", width, width);
}

torch::Tensor UnetAttention::forward(const torch::Tensor& hidden, const torch::Tensor& context) {
  return to_out->forward(nn::multi_head_attention(to_q->forward(hidden), to_k->forward(context),
                                                  to_v->forward(context), heads_));
}

UnetFeedForward::UnetFeedForward(const ParameterSource& source, const std::string& prefix,
                                 std::int64_t width) {
  PartBuilder build(*this, source, prefix);
  const std::int64_t inner = kFeedForwardFactor * width;
  in = build.linear("net.0.proj", 2 * inner, width);
  out = build.linear("net.2", width, inner);
}

torch::Tensor UnetFeedForward::forward(const torch::Tensor& hidden) {
  const auto halves = in->forward(hidden).chunk(2, -1);
  return out->forward(halves[0] * at::gelu(halves[1]));
}

UnetTransformerBlock::UnetTransformerBlock(const ParameterSource& source, const std::string& prefix,
                                           std::int64_t width, std::int64_t context_width,
                                           std::int64_t heads) {
  PartBuilder build(*this, source, prefix);
  norm1 = build.layer_norm("norm1", width, kLayerNormEps);
  attn1 = build.part<UnetAttention>("attn1", width, width, heads);
  norm2 = build.layer_norm("norm2", width, kLayerNormEps);
  attn2 = build.part<UnetAttention>("attn2", width, context_width, heads);
  norm3 = build.layer_norm("norm3", width, kLayerNormEps);
  ff = build.part<UnetFeedForward>("ff", width);
}

torch::Tensor UnetTransformerBlock::forward(torch::Tensor hidden, const torch::Tensor& context) {
  const torch::Tensor normed = norm1->forward(hidden);
  hidden = attn1->forward(normed, normed) + hidden;
  hidden = attn2->forward(norm2->forward(hidden), context) + hidden;
  return ff->forward(norm3->forward(hidden)) + hidden;
}

UnetTransformer::UnetTransformer(const ParameterSource& source, const std::string& prefix,
                                 const UnetConfig& config, const UnetBlockConfig& block,
                                 std::int64_t layers)
    : projects_places_(config.use_linear_projection) {
  PartBuilder build(*this, source, prefix);
  const std::int64_t width = block.channels;
  const auto projection = [&](const char* path) -> std::shared_ptr<nn::Layer> {
    if (projects_places_) return build.linear(path, width, width).ptr();
    return build.conv2d(path, width, width, 1).ptr();
  };
  norm = build.group_norm("norm", config.norm_groups, width, kTransformerNormEps);
  proj_in = projection("proj_in");
  for (std::int64_t i = 0; i < layers; ++i) {
    transformer_blocks.push_back(build.part<UnetTransformerBlock>(
        "transformer_blocks." + std::to_string(i), width, config.context_width, block.heads));
  }
  proj_out = projection("proj_out");
}

torch::Tensor UnetTransformer::forward(const torch::Tensor& hidden, const torch::Tensor& context,
                                       bool checkpointing) {
  const auto to_places = [](const torch::Tensor& picture) {
    return picture.flatten(2).transpose(1, 2);  // (B, H W, channels)
  };
  const auto to_picture = [&](const torch::Tensor& places) {
    return places.transpose(1, 2).unflatten(2, hidden.sizes().slice(2)).contiguous();
  };
  const torch::Tensor normed = norm->forward(hidden);
  torch::Tensor places =
      projects_places_ ? proj_in->forward(to_places(normed)) : to_places(proj_in->forward(normed));
  for (const auto& block : transformer_blocks) {
    const auto forward = [block](at::TensorList in) { return block->forward(in[0], in[1]); };
    places = run_block(forward, {places, context}, checkpointing);
  }
  return hidden + (projects_places_ ? to_picture(proj_out->forward(places))
                                    : proj_out->forward(to_picture(places)));
}

UnetBlock::UnetBlock(const ParameterSource& source, const std::string& prefix,
                     const UnetConfig& config, const UnetBlockConfig& block,
                     const std::vector<std::int64_t>& inputs, UnetResampling resampling,
                     double output_scale) {
  PartBuilder build(*this, source, prefix);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    resnets.push_back(build.part<ResnetBlock2D>("resnets." + std::to_string(i),
                                                ResnetShape{.in = inputs[i],
                                                            .out = block.channels,
                                                            .time_width = config.time_width(),
                                                            .groups = config.norm_groups,
                                                            .eps = config.norm_eps,
                                                            .output_scale = output_scale}));
  }
  for (std::size_t i = 0; i < block.transformer_layers.size(); ++i) {
    attentions.push_back(build.part<UnetTransformer>("attentions." + std::to_string(i), config,
                                                     block, block.transformer_layers[i]));
  }
  if (resampling == UnetResampling::kDown) {
    downsampler = build.part<Downsample2D>(
        "downsamplers.0", block.channels,
        config.pads_after ? DownsamplePadding::kAfter : DownsamplePadding::kAround);
  }
  if (resampling == UnetResampling::kUp) {
    upsampler = build.part<Upsample2D>("upsamplers.0", block.channels);
  }
}

torch::Tensor UnetBlock::layer(std::size_t index, const std::vector<torch::Tensor>& hidden,
                               const UnetConditioning& conditioning) {
  const auto& resnet = resnets.at(index);
  const auto forward = [resnet](at::TensorList in) {
    const at::TensorList pictures = in.slice(1);
    return resnet->forward(pictures.size() > 1 ? at::cat(pictures, 1) : pictures[0], in[0]);
  };
  std::vector<torch::Tensor> inputs = {conditioning.time};
  inputs.insert(inputs.end(), hidden.begin(), hidden.end());
  const torch::Tensor out = run_block(forward, inputs, conditioning.checkpointing);
  if (index >= attentions.size()) return out;
  return attentions[index]->forward(out, conditioning.context, conditioning.checkpointing);
}

}  // namespace shira
