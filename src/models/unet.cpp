// Down, through the middle, up: the way up reads what each layer on the way down left.
#include <shira/base/error.h>
#include <shira/models/unet.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace shira {
namespace {

constexpr double kLongestPeriod = 10000.0;

/// `tensor` is (batch, ...) of `dim` axes.
bool is_batch(const torch::Tensor& tensor, std::int64_t batch, std::int64_t dim) {
  return tensor.defined() && tensor.dim() == dim && tensor.size(0) == batch;
}

/// "(2, 4, 8, 8)", or "nothing".
std::string shape_text(const torch::Tensor& tensor) {
  return tensor.defined() ? detail::concat(tensor.sizes()) : "nothing";
}

void check_sample(const UnetConfig& config, const torch::Tensor& sample) {
  SHIRA_CHECK(
      ShapeError, sample.dim() == 4 && sample.size(1) == config.in_channels && sample.numel() > 0,
      "[Unet] sample must be (B, ", config.in_channels, ", H, W). Got ", sample.sizes(), ".");
  const std::int64_t smallest = std::min(sample.size(2), sample.size(3));
  SHIRA_CHECK(ShapeError, !config.pads_after || smallest >> (config.down_blocks.size() - 1) > 0,
              "[Unet] sample is too small to be halved ", config.down_blocks.size() - 1,
              " times. Got ", sample.sizes(), ".");
}

void check_addition(const UnetConfig& config, std::int64_t batch,
                    const UnetConditions& conditions) {
  const torch::Tensor &text = conditions.text_embeds, &ids = conditions.time_ids;
  if (config.addition_time_width == 0) {
    SHIRA_CHECK(ShapeError, !text.defined() && !ids.defined(),
                "[Unet] this model takes no text_embeds and no time_ids (its config has no "
                "addition_embed_type).");
    return;
  }
  SHIRA_CHECK(
      ShapeError,
      is_batch(text, batch, 2) && is_batch(ids, batch, 2) &&
          text.size(1) + ids.size(1) * config.addition_time_width == config.addition_input_width,
      "[Unet] text_embeds (B, P) and time_ids (B, N) must make P + ", config.addition_time_width,
      " N = ", config.addition_input_width, ", B = ", batch, ". Got text_embeds ", shape_text(text),
      " and time_ids ", shape_text(ids), ".");
}

void check_class_labels(const UnetConfig& config, std::int64_t batch, const torch::Tensor& labels) {
  if (config.class_embedding == ClassEmbedding::kNone) {
    SHIRA_CHECK(ShapeError, !labels.defined(), "[Unet] this model takes no class_labels.");
  } else if (config.class_embedding == ClassEmbedding::kProjection) {
    SHIRA_CHECK(ShapeError,
                is_batch(labels, batch, 2) && labels.size(1) == config.class_input_width,
                "[Unet] class_labels must be (", batch, ", ", config.class_input_width, "). Got ",
                shape_text(labels), ".");
  } else {
    SHIRA_CHECK(ShapeError, is_batch(labels, batch, 1), "[Unet] class_labels must be (", batch,
                "). Got ", shape_text(labels), ".");
  }
  if (config.class_embedding == ClassEmbedding::kTable) {
    SHIRA_CHECK(ShapeError,
                labels.min().item<std::int64_t>() >= 0 &&
                    labels.max().item<std::int64_t>() < config.num_class_embeds,
                "[Unet] class_labels must be numbers below ", config.num_class_embeds, ".");
  }
}

void check_inputs(const UnetConfig& config, const torch::Tensor& sample,
                  const torch::Tensor& timesteps, const UnetConditions& conditions) {
  check_sample(config, sample);
  const std::int64_t batch = sample.size(0);
  SHIRA_CHECK(ShapeError,
              timesteps.dim() <= 1 && (timesteps.numel() == 1 || timesteps.numel() == batch),
              "[Unet] timesteps must be one, or (", batch, "). Got ", timesteps.sizes(), ".");
  const torch::Tensor& context = conditions.context;
  SHIRA_CHECK(
      ShapeError,
      is_batch(context, batch, 3) && context.size(1) > 0 && context.size(2) == config.context_width,
      "[Unet] the context (encoder_hidden_states) must be (", batch, ", S, ", config.context_width,
      "). Got ", shape_text(context), ".");
  check_addition(config, batch, conditions);
  check_class_labels(config, batch, conditions.class_labels);
}

}  // namespace

UnetEmbedding::UnetEmbedding(const ParameterSource& source, const std::string& prefix,
                             std::int64_t out, std::int64_t in) {
  PartBuilder build(*this, source, prefix);
  linear_1 = build.linear("linear_1", out, in);
  linear_2 = build.linear("linear_2", out, out);
}

torch::Tensor UnetEmbedding::forward(const torch::Tensor& input) {
  return linear_2->forward(at::silu(linear_1->forward(input)));
}

UnetImpl::UnetImpl(const UnetConfig& config_in, const ParameterSource& source) : config(config_in) {
  PartBuilder build(*this, source, "");
  const std::int64_t base = config.base_channels(), time_width = config.time_width();
  conv_in = build.conv2d("conv_in", base, config.in_channels, 3);
  time_embedding = build.part<UnetEmbedding>("time_embedding", time_width, base);
  switch (config.class_embedding) {
    case ClassEmbedding::kNone: break;
    case ClassEmbedding::kTable:
      class_table = build.embedding("class_embedding", config.num_class_embeds, time_width);
      break;
    case ClassEmbedding::kTimestep:
      class_embedding = build.part<UnetEmbedding>("class_embedding", time_width, base);
      break;
    case ClassEmbedding::kProjection:
      class_embedding =
          build.part<UnetEmbedding>("class_embedding", time_width, config.class_input_width);
      break;
  }
  if (config.addition_time_width > 0) {
    add_embedding =
        build.part<UnetEmbedding>("add_embedding", time_width, config.addition_input_width);
  }
  build_blocks(build);
  conv_norm_out = build.group_norm("conv_norm_out", config.norm_groups, base, config.norm_eps);
  conv_out = build.conv2d("conv_out", config.out_channels, base, 3);
}

/// The channels of everything that the way up will read are known from the way down.
void UnetImpl::build_blocks(PartBuilder& build) {
  std::int64_t channels = config.base_channels();
  std::vector<std::int64_t> skips = {channels};
  for (std::size_t i = 0; i < config.down_blocks.size(); ++i) {
    const UnetBlockConfig& block = config.down_blocks[i];
    std::vector<std::int64_t> inputs;
    for (std::int64_t k = 0; k < block.resnets; ++k) {
      inputs.push_back(std::exchange(channels, block.channels));
      skips.push_back(channels);
    }
    if (block.resamples) skips.push_back(channels);
    down_blocks.push_back(
        build.part<UnetBlock>("down_blocks." + std::to_string(i), config, block, inputs,
                              block.resamples ? UnetResampling::kDown : UnetResampling::kNone));
  }
  mid_block = build.part<UnetBlock>("mid_block", config, config.mid_block,
                                    std::vector<std::int64_t>{channels, channels},
                                    UnetResampling::kNone, config.mid_block_scale_factor);
  for (std::size_t i = 0; i < config.up_blocks.size(); ++i) {
    const UnetBlockConfig& block = config.up_blocks[i];
    std::vector<std::int64_t> inputs;
    for (std::int64_t k = 0; k < block.resnets; ++k) {
      inputs.push_back(std::exchange(channels, block.channels) + skips.back());
      skips.pop_back();
    }
    up_blocks.push_back(
        build.part<UnetBlock>("up_blocks." + std::to_string(i), config, block, inputs,
                              block.resamples ? UnetResampling::kUp : UnetResampling::kNone));
  }
}

at::Device UnetImpl::device() const { return conv_in->weight.device(); }

/// (N) -> (N, width) float32, as diffusers computes it (Ho et al. 2020; Vaswani et al. 2017).
torch::Tensor UnetImpl::sinusoids(const torch::Tensor& timesteps, std::int64_t width) const {
  const std::int64_t half = width / 2;
  const auto options = torch::TensorOptions(torch::kFloat32).device(device());
  const torch::Tensor exponents = -std::log(kLongestPeriod) * at::arange(half, options) /
                                  (static_cast<double>(half) - config.freq_shift);
  const torch::Tensor angles = timesteps.to(options).unsqueeze(1) * exponents.exp();
  return config.flip_sin_to_cos ? at::cat({angles.cos(), angles.sin()}, 1)
                                : at::cat({angles.sin(), angles.cos()}, 1);
}

torch::Tensor UnetImpl::embed_class(const torch::Tensor& labels) {
  const auto options = conv_in->weight.options();
  switch (config.class_embedding) {
    case ClassEmbedding::kTable: return class_table->forward(labels.to(device(), torch::kInt64));
    case ClassEmbedding::kTimestep:
      return class_embedding->forward(sinusoids(labels, config.base_channels()).to(options));
    default: return class_embedding->forward(labels.to(options));
  }
}

/// (B, time_width): timesteps (B), and what else is said of the picture as a whole.
torch::Tensor UnetImpl::embed_time(const torch::Tensor& timesteps,
                                   const UnetConditions& conditions) {
  const auto options = conv_in->weight.options();
  torch::Tensor embedded =
      time_embedding->forward(sinusoids(timesteps, config.base_channels()).to(options));
  if (config.class_embedding != ClassEmbedding::kNone) {
    embedded = embedded + embed_class(conditions.class_labels);
  }
  if (add_embedding == nullptr) return embedded;
  const torch::Tensor ids = sinusoids(conditions.time_ids.flatten(), config.addition_time_width);
  const torch::Tensor joined = at::cat(
      {conditions.text_embeds.to(options), ids.view({timesteps.size(0), -1}).to(options)}, 1);
  return embedded + add_embedding->forward(joined);
}

torch::Tensor UnetImpl::forward(const torch::Tensor& sample, const torch::Tensor& timesteps,
                                const UnetConditions& conditions) {
  check_inputs(config, sample, timesteps, conditions);
  const auto options = conv_in->weight.options();
  torch::Tensor hidden = sample.to(options);
  if (config.center_input_sample) hidden = 2.0 * hidden - 1.0;
  const UnetConditioning conditioning = {
      embed_time(timesteps.reshape({-1}).expand({sample.size(0)}), conditions),
      conditions.context.to(options), gradient_checkpointing};

  hidden = conv_in->forward(hidden);
  std::vector<torch::Tensor> skips = {hidden};
  for (const auto& block : down_blocks) {
    for (std::size_t i = 0; i < block->resnets.size(); ++i) {
      hidden = block->layer(i, {hidden}, conditioning);
      skips.push_back(hidden);
    }
    if (block->downsampler == nullptr) continue;
    hidden = block->downsampler->forward(hidden);
    skips.push_back(hidden);
  }
  for (std::size_t i = 0; i < mid_block->resnets.size(); ++i) {
    hidden = mid_block->layer(i, {hidden}, conditioning);
  }
  for (const auto& block : up_blocks) {
    for (std::size_t i = 0; i < block->resnets.size(); ++i) {
      hidden = block->layer(i, {hidden, skips.back()}, conditioning);
      skips.pop_back();
    }
    if (block->upsampler == nullptr) continue;
    hidden = block->upsampler->forward(hidden, skips.back().sizes().slice(2));
  }
  return conv_out->forward(at::silu(conv_norm_out->forward(hidden)));
}

}  // namespace shira
