// A small network of the parts that Stable Diffusion's UNet is made of, for measuring training: two
// resolutions of 320 and 640 channels with residual blocks, self- and cross-attention, a strided
// convolution down, one up, and a skip connection. scripts/unet_like.py is the same in Python.
#pragma once

#include <shira/models/llama.h>
#include <shira/nn/conv2d.h>
#include <shira/nn/linear.h>
#include <shira/train/objective.h>

#include <ATen/Functions.h>

#include <string>
#include <utility>
#include <vector>

namespace shira::benchmarks {

constexpr std::int64_t kUnetHeads = 8, kUnetContext = 768, kUnetWords = 77;

/// Every linear layer and convolution of UnetLike.
inline const std::vector<std::string> kUnetTargets = {
    "all-linear", "conv_in",  "conv_out",      "conv1",      "conv2",
    "proj_in",    "proj_out", "conv_shortcut", "downsample", "upsample"};

/// A module whose layers get their tensors from `source`, under names that begin with `prefix`.
class UnetPart : public torch::nn::Module {
 protected:
  UnetPart(const ParameterSource& source, std::string prefix)
      : source_(source), prefix_(std::move(prefix)) {}

  nn::Linear linear(const char* name, std::int64_t out, std::int64_t in, bool bias = true) {
    const std::string full = prefix_ + name;
    return register_module(name, nn::Linear(source_(full + ".weight", {out, in}),
                                            bias ? source_(full + ".bias", {out}) : Tensor()));
  }

  nn::Conv2d conv(const char* name, std::int64_t out, std::int64_t in, std::int64_t size,
                  std::int64_t stride = 1) {
    const std::string full = prefix_ + name;
    const nn::Conv2dGeometry geometry = {.stride = {stride, stride},
                                         .padding = {size / 2, size / 2}};
    return register_module(name, nn::Conv2d(source_(full + ".weight", {out, in, size, size}),
                                            source_(full + ".bias", {out}), geometry));
  }

  using Tensor = torch::Tensor;
  using Norm = std::pair<Tensor, Tensor>;  // weight, bias

  Norm norm(const char* name, std::int64_t width) {
    return {source_(prefix_ + name + ".weight", {width}),
            source_(prefix_ + name + ".bias", {width})};
  }
  static Tensor group_norm(const Tensor& input, const Norm& norm) {
    return at::group_norm(input, 32, norm.first, norm.second, 1e-5);
  }
  static Tensor layer_norm(const Tensor& input, const Norm& norm) {
    return at::layer_norm(input, norm.first.sizes(), norm.first, norm.second, 1e-5);
  }

 private:
  ParameterSource source_;
  std::string prefix_;
};

/// ResnetBlock2D: (B, in, H, W) -> (B, out, H, W).
class UnetResnet : public UnetPart {
 public:
  UnetResnet(const ParameterSource& source, const std::string& prefix, std::int64_t in,
             std::int64_t out, std::int64_t time)
      : UnetPart(source, prefix),
        norm1(norm("norm1", in)),
        conv1_(conv("conv1", out, in, 3)),
        time_(linear("time_emb_proj", out, time)),
        norm2_(norm("norm2", out)),
        conv2_(conv("conv2", out, out, 3)) {
    if (in != out) shortcut_ = conv("conv_shortcut", out, in, 1);
  }

  Tensor forward(const Tensor& input, const Tensor& time) {
    Tensor hidden = conv1_->forward(at::silu(group_norm(input, norm1)));
    hidden = hidden + time_->forward(at::silu(time)).unsqueeze(-1).unsqueeze(-1);
    hidden = conv2_->forward(at::silu(group_norm(hidden, norm2_)));
    return hidden + (shortcut_.is_empty() ? input : shortcut_->forward(input));
  }

  Norm norm1;

 private:
  nn::Conv2d conv1_;
  nn::Linear time_;
  Norm norm2_;
  nn::Conv2d conv2_, shortcut_ = nullptr;
};

/// Attention without a mask, of `width` channels over the words of `context` channels.
class UnetAttention : public UnetPart {
 public:
  UnetAttention(const ParameterSource& source, const std::string& prefix, std::int64_t width,
                std::int64_t context)
      : UnetPart(source, prefix),
        query_(linear("to_q", width, width, /*bias=*/false)),
        key_(linear("to_k", width, context, /*bias=*/false)),
        value_(linear("to_v", width, context, /*bias=*/false)),
        out_(linear("to_out", width, width)) {}

  /// (B, T, width) over (B, S, context).
  Tensor forward(const Tensor& input, const Tensor& context) {
    const auto heads = [](const Tensor& t) {
      return t.unflatten(-1, {kUnetHeads, -1}).transpose(1, 2);
    };
    const Tensor mixed = at::scaled_dot_product_attention(heads(query_->forward(input)),
                                                          heads(key_->forward(context)),
                                                          heads(value_->forward(context)));
    return out_->forward(mixed.transpose(1, 2).flatten(2));
  }

 private:
  nn::Linear query_, key_, value_, out_;
};

/// Transformer2DModel with one block: self-attention, cross-attention, GEGLU.
class UnetTransformer : public UnetPart {
 public:
  UnetTransformer(const ParameterSource& source, const std::string& prefix, std::int64_t width)
      : UnetPart(source, prefix),
        norm_(norm("norm", width)),
        norm1_(norm("norm1", width)),
        norm2_(norm("norm2", width)),
        norm3_(norm("norm3", width)),
        in_(conv("proj_in", width, width, 1)),
        out_(conv("proj_out", width, width, 1)),
        ff_in_(linear("ff_in", 8 * width, width)),
        ff_out_(linear("ff_out", width, 4 * width)) {
    attn1_ = register_module(
        "attn1", std::make_shared<UnetAttention>(source, prefix + "attn1.", width, width));
    attn2_ = register_module(
        "attn2", std::make_shared<UnetAttention>(source, prefix + "attn2.", width, kUnetContext));
  }

  Tensor forward(const Tensor& input, const Tensor& context) {
    Tensor hidden = in_->forward(group_norm(input, norm_)).flatten(2).transpose(1, 2);
    const Tensor normed = layer_norm(hidden, norm1_);
    hidden = hidden + attn1_->forward(normed, normed);
    hidden = hidden + attn2_->forward(layer_norm(hidden, norm2_), context);
    const auto gated = ff_in_->forward(layer_norm(hidden, norm3_)).chunk(2, -1);
    hidden = hidden + ff_out_->forward(gated[0] * at::gelu(gated[1]));
    return input + out_->forward(hidden.transpose(1, 2).reshape(input.sizes()));
  }

 private:
  Norm norm_, norm1_, norm2_, norm3_;
  nn::Conv2d in_, out_;
  nn::Linear ff_in_, ff_out_;
  std::shared_ptr<UnetAttention> attn1_, attn2_;
};

/// Noise (B, 4, H, W), context (B, words, 768) and time (B, 4 * width) -> (B, 4, H, W).
class UnetLike : public UnetPart {
 public:
  UnetLike(const ParameterSource& source, std::int64_t width)
      : UnetPart(source, ""),
        in_(conv("conv_in", width, 4, 3)),
        downsample_(conv("downsample", width, width, 3, /*stride=*/2)),
        upsample_(conv("upsample", 2 * width, 2 * width, 3)),
        out_(conv("conv_out", 4, width, 3)),
        norm_(norm("norm_out", width)) {
    const std::int64_t time = 4 * width;
    const auto resnet = [&](const char* name, std::int64_t in, std::int64_t out) {
      return register_module(
          name, std::make_shared<UnetResnet>(source, std::string(name) + ".", in, out, time));
    };
    const auto transformer = [&](const char* name, std::int64_t channels) {
      return register_module(
          name, std::make_shared<UnetTransformer>(source, std::string(name) + ".", channels));
    };
    resnet1_ = resnet("resnet1", width, width);
    transformer1_ = transformer("transformer1", width);
    resnet2_ = resnet("resnet2", width, 2 * width);
    transformer2_ = transformer("transformer2", 2 * width);
    resnet3_ = resnet("resnet3", 3 * width, width);
    transformer3_ = transformer("transformer3", width);
  }

  Tensor forward(const Tensor& noise, const Tensor& context, const Tensor& time) {
    const Tensor skip =
        transformer1_->forward(resnet1_->forward(in_->forward(noise), time), context);
    Tensor hidden = resnet2_->forward(downsample_->forward(skip), time);
    hidden = transformer2_->forward(hidden, context);
    hidden = upsample_->forward(at::upsample_nearest2d(hidden, skip.sizes().slice(2)));
    hidden = resnet3_->forward(at::cat({hidden, skip}, 1), time);
    hidden = transformer3_->forward(hidden, context);
    return out_->forward(at::silu(group_norm(hidden, norm_)));
  }

  /// Where a gradient that is to pass all blocks is asked for.
  Tensor first_norm() const { return resnet1_->norm1.first; }

 private:
  nn::Conv2d in_, downsample_, upsample_, out_;
  Norm norm_;
  std::shared_ptr<UnetResnet> resnet1_, resnet2_, resnet3_;
  std::shared_ptr<UnetTransformer> transformer1_, transformer2_, transformer3_;
};

/// The mean squared error of the output against "target", in float32.
class UnetObjective : public Objective {
 public:
  explicit UnetObjective(std::shared_ptr<UnetLike> model) : model_(std::move(model)) {}

  torch::Tensor loss_sum(const Batch& batch) override {
    const auto output = model_->forward(batch.at("noise"), batch.at("context"), batch.at("time"))
                            .to(torch::kFloat32);
    return (output - batch.at("target")).square().sum();
  }
  std::int64_t term_count(const Batch& batch) const override { return batch.at("target").numel(); }
  std::int64_t item_count(const Batch& batch) const override { return batch.at("target").size(0); }

 private:
  std::shared_ptr<UnetLike> model_;
};

/// What the network is fed: rows of side x side places. unet_like.py makes the same.
inline Batch unet_batch(std::int64_t rows, std::int64_t side, std::int64_t width,
                        const torch::TensorOptions& options) {
  const auto waves = [&](at::IntArrayRef shape, double frequency) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    return at::sin(at::arange(count, torch::kFloat64) * frequency).view(shape).to(options);
  };
  return {{"noise", waves({rows, 4, side, side}, 0.37)},
          {"context", waves({rows, kUnetWords, kUnetContext}, 0.73)},
          {"time", waves({rows, 4 * width}, 0.11)},
          {"target", waves({rows, 4, side, side}, 0.53).to(torch::kFloat32)}};
}

}  // namespace shira::benchmarks
