#include <shira/base/error.h>
#include <shira/models/autoencoder_kl.h>
#include <shira/nn/attention.h>

#include <ATen/Functions.h>

#include <algorithm>

namespace shira {
namespace {

constexpr double kVaeEps = 1e-6;
constexpr double kTileOverlap = 0.25;

ResnetShape vae_resnet(const AutoencoderKlConfig& config, std::int64_t in, std::int64_t out) {
  return {.in = in, .out = out, .groups = config.norm_num_groups, .eps = kVaeEps};
}

/// `part` applied to one row of the batch after another.
template <typename Part>
torch::Tensor one_by_one(const torch::Tensor& batch, const Part& part) {
  if (batch.size(0) == 1) return part(batch);
  std::vector<torch::Tensor> rows;
  for (const torch::Tensor& row : batch.split(1)) rows.push_back(part(row));
  return at::cat(rows);
}

/// Sizes of tiles of what goes in and of what comes out.
struct TileSizes {
  std::int64_t in = 0;
  std::int64_t out = 0;

  bool covers(const torch::Tensor& input) const {
    return input.size(2) <= in && input.size(3) <= in;
  }
  std::int64_t stride() const { return static_cast<std::int64_t>(in * (1.0 - kTileOverlap)); }
  std::int64_t blend() const { return static_cast<std::int64_t>(out * kTileOverlap); }
};

/// The first `extent` places of `tile` along `dim` go over from the last ones of `before`.
torch::Tensor blended(const torch::Tensor& before, const torch::Tensor& tile, std::int64_t dim,
                      std::int64_t extent_in) {
  const std::int64_t extent = std::min({before.size(dim), tile.size(dim), extent_in});
  if (extent == 0) return tile;
  std::vector<std::int64_t> shape(4, 1);
  shape[static_cast<std::size_t>(dim)] = extent;
  const torch::Tensor share = (at::arange(extent, tile.options()) / extent).view(shape);
  const torch::Tensor head = before.narrow(dim, before.size(dim) - extent, extent) * (1 - share) +
                             tile.narrow(dim, 0, extent) * share;
  return at::cat({head, tile.narrow(dim, extent, tile.size(dim) - extent)}, dim);
}

/// The rows of tiles that `part` makes of `input`. Each tile is blended with the one above and the
/// one to its left as these came out (diffusers blends in place, so they have been blended
/// themselves).
template <typename Part>
torch::Tensor in_tiles(const torch::Tensor& input, const TileSizes& sizes, const Part& part) {
  SHIRA_CHECK(ShapeError, std::min(sizes.in, sizes.out) > 1, "[AutoencoderKl] tiles of ",
              std::max(sizes.in, sizes.out),
              " pixels (sample_size in the autoencoder's config.json) "
              "are too small to overlap. Turn tiling off.");
  const std::int64_t kept = sizes.out - sizes.blend();
  std::vector<torch::Tensor> above, rows;
  for (std::int64_t y = 0; y < input.size(2); y += sizes.stride()) {
    std::vector<torch::Tensor> row, cropped;
    for (std::int64_t x = 0; x < input.size(3); x += sizes.stride()) {
      torch::Tensor tile = part(input.slice(2, y, y + sizes.in).slice(3, x, x + sizes.in));
      if (!above.empty()) tile = blended(above[row.size()], tile, 2, sizes.blend());
      if (!row.empty()) tile = blended(row.back(), tile, 3, sizes.blend());
      cropped.push_back(tile.slice(2, 0, kept).slice(3, 0, kept));
      row.push_back(std::move(tile));
    }
    rows.push_back(at::cat(cropped, 3));
    above = std::move(row);
  }
  return at::cat(rows, 2);
}

}  // namespace

torch::Tensor LatentDistribution::sample(const torch::Tensor& noise) const {
  return mean + at::exp(0.5 * logvar) * noise.to(mean.options());
}

VaeMidBlock::VaeMidBlock(const ParameterSource& source, const std::string& prefix,
                         const AutoencoderKlConfig& config) {
  PartBuilder build(*this, source, prefix);
  const std::int64_t width = config.block_out_channels.back();
  first = build.part<ResnetBlock2D>("resnets.0", vae_resnet(config, width, width));
  last = build.part<ResnetBlock2D>("resnets.1", vae_resnet(config, width, width));
  if (!config.mid_block_add_attention) return;
  group_norm = build.group_norm("attentions.0.group_norm", config.norm_num_groups, width, kVaeEps);
  to_q = build.linear("attentions.0.to_q", width, width);
  to_k = build.linear("attentions.0.to_k", width, width);
  to_v = build.linear("attentions.0.to_v", width, width);
  to_out = build.linear("attentions.0.to_out.0", width, width);
}

torch::Tensor VaeMidBlock::forward(const torch::Tensor& input) {
  torch::Tensor hidden = first->forward(input);
  if (!group_norm.is_empty()) {
    const torch::Tensor places = group_norm->forward(hidden).flatten(2).transpose(1, 2);
    const torch::Tensor mixed = nn::multi_head_attention(
        to_q->forward(places), to_k->forward(places), to_v->forward(places), /*heads=*/1);
    hidden = hidden + to_out->forward(mixed).transpose(1, 2).reshape(hidden.sizes());
  }
  return last->forward(hidden);
}

VaeEncoder::VaeEncoder(const ParameterSource& source, const std::string& prefix,
                       const AutoencoderKlConfig& config) {
  PartBuilder build(*this, source, prefix);
  const auto& channels = config.block_out_channels;
  conv_in_ = build.conv2d("conv_in", channels.front(), config.in_channels, 3);
  std::int64_t width = channels.front();
  for (std::size_t i = 0; i < channels.size(); ++i) {
    const std::string path = "down_blocks." + std::to_string(i) + ".";
    VaeLevel level;
    for (std::int64_t j = 0; j < config.layers_per_block; ++j) {
      level.resnets.push_back(build.part<ResnetBlock2D>(path + "resnets." + std::to_string(j),
                                                        vae_resnet(config, width, channels[i])));
      width = channels[i];
    }
    if (i + 1 < channels.size()) {
      level.down =
          build.part<Downsample2D>(path + "downsamplers.0", width, DownsamplePadding::kAfter);
    }
    levels_.push_back(std::move(level));
  }
  mid_block_ = build.part<VaeMidBlock>("mid_block", config);
  conv_norm_out_ = build.group_norm("conv_norm_out", config.norm_num_groups, width, kVaeEps);
  conv_out_ = build.conv2d("conv_out", 2 * config.latent_channels, width, 3);
}

torch::Tensor VaeEncoder::forward(const torch::Tensor& pixels) {
  torch::Tensor hidden = conv_in_->forward(pixels);
  for (const VaeLevel& level : levels_) {
    for (const auto& resnet : level.resnets) hidden = resnet->forward(hidden);
    if (level.down) hidden = level.down->forward(hidden);
  }
  hidden = mid_block_->forward(hidden);
  return conv_out_->forward(at::silu(conv_norm_out_->forward(hidden)));
}

VaeDecoder::VaeDecoder(const ParameterSource& source, const std::string& prefix,
                       const AutoencoderKlConfig& config) {
  PartBuilder build(*this, source, prefix);
  const auto& channels = config.block_out_channels;
  std::int64_t width = channels.back();
  conv_in_ = build.conv2d("conv_in", width, config.latent_channels, 3);
  mid_block_ = build.part<VaeMidBlock>("mid_block", config);
  for (std::size_t i = 0; i < channels.size(); ++i) {
    const std::int64_t out = channels[channels.size() - 1 - i];
    const std::string path = "up_blocks." + std::to_string(i) + ".";
    VaeLevel level;
    for (std::int64_t j = 0; j <= config.layers_per_block; ++j) {
      level.resnets.push_back(build.part<ResnetBlock2D>(path + "resnets." + std::to_string(j),
                                                        vae_resnet(config, width, out)));
      width = out;
    }
    if (i + 1 < channels.size()) {
      level.up = build.part<Upsample2D>(path + "upsamplers.0", width);
    }
    levels_.push_back(std::move(level));
  }
  conv_norm_out_ = build.group_norm("conv_norm_out", config.norm_num_groups, width, kVaeEps);
  conv_out_ = build.conv2d("conv_out", config.out_channels, width, 3);
}

torch::Tensor VaeDecoder::forward(const torch::Tensor& latents) {
  torch::Tensor hidden = mid_block_->forward(conv_in_->forward(latents));
  for (const VaeLevel& level : levels_) {
    for (const auto& resnet : level.resnets) hidden = resnet->forward(hidden);
    if (level.up) hidden = level.up->forward(hidden);
  }
  return conv_out_->forward(at::silu(conv_norm_out_->forward(hidden)));
}

AutoencoderKlImpl::AutoencoderKlImpl(const AutoencoderKlConfig& config_in,
                                     const ParameterSource& source)
    : config(config_in) {
  PartBuilder build(*this, source, "");
  encoder = build.part<VaeEncoder>("encoder", config);
  decoder = build.part<VaeDecoder>("decoder", config);
  const std::int64_t width = config.latent_channels;
  if (config.use_quant_conv) quant_conv = build.conv2d("quant_conv", 2 * width, 2 * width, 1);
  if (config.use_post_quant_conv)
    post_quant_conv = build.conv2d("post_quant_conv", width, width, 1);
}

at::Device AutoencoderKlImpl::device() const { return parameters().front().device(); }

torch::Tensor AutoencoderKlImpl::encode_tile(const torch::Tensor& pixels) {
  SHIRA_CHECK(ShapeError, pixels.size(2) >= config.factor() && pixels.size(3) >= config.factor(),
              "[AutoencoderKl::encode] a picture or tile of ", pixels.size(2), " x ",
              pixels.size(3), " pixels is smaller than one latent. Make both sides multiples of ",
              config.factor(), ".");
  const torch::Tensor moments = encoder->forward(pixels);
  return quant_conv.is_empty() ? moments : quant_conv->forward(moments);
}

torch::Tensor AutoencoderKlImpl::decode_tile(const torch::Tensor& latents) {
  return decoder->forward(post_quant_conv.is_empty() ? latents : post_quant_conv->forward(latents));
}

LatentDistribution AutoencoderKlImpl::encode(const torch::Tensor& pixels) {
  SHIRA_CHECK(ShapeError,
              pixels.dim() == 4 && pixels.size(1) == config.in_channels && pixels.numel() > 0,
              "[AutoencoderKl::encode] got pixels ", pixels.sizes(), ", expected (B, ",
              config.in_channels, ", H, W).");
  const TileSizes sizes{config.sample_size, config.sample_size / config.factor()};
  const auto part = [this](const torch::Tensor& tile) { return encode_tile(tile); };
  const torch::Tensor moments =
      one_by_one(pixels.to(parameters().front().options()), [&](const torch::Tensor& picture) {
        return tiling && !sizes.covers(picture) ? in_tiles(picture, sizes, part) : part(picture);
      });
  const auto halves = moments.chunk(2, 1);
  return {halves[0], halves[1].clamp(-30.0, 20.0)};
}

torch::Tensor AutoencoderKlImpl::decode(const torch::Tensor& latents) {
  SHIRA_CHECK(
      ShapeError,
      latents.dim() == 4 && latents.size(1) == config.latent_channels && latents.numel() > 0,
      "[AutoencoderKl::decode] got latents ", latents.sizes(), ", expected (B, ",
      config.latent_channels, ", h, w).");
  const TileSizes sizes{config.sample_size / config.factor(), config.sample_size};
  const auto part = [this](const torch::Tensor& tile) { return decode_tile(tile); };
  return one_by_one(latents.to(parameters().front().options()), [&](const torch::Tensor& picture) {
    return tiling && !sizes.covers(picture) ? in_tiles(picture, sizes, part) : part(picture);
  });
}

}  // namespace shira
