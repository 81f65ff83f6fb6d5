// The blocks that Stable Diffusion's UNet and autoencoder are made of, under diffusers' names.
#pragma once

#include <shira/base/export.h>
#include <shira/models/part_builder.h>

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <string>

namespace shira {

struct ResnetShape {
  std::int64_t in = 0;          // channels
  std::int64_t out = 0;         // channels
  std::int64_t time_width = 0;  // of the time embedding; 0: takes none
  std::int64_t groups = 32;     // of the norms
  double eps = 1e-6;            // of the norms
  double output_scale = 1.0;    // the sum is divided by it
};

/// Two convolutions after norms, the time embedding added between them, and a shortcut (a 1x1
/// convolution where the channels change).
class SHIRA_API ResnetBlock2D : public torch::nn::Module {
 public:
  ResnetBlock2D(const ParameterSource& source, const std::string& prefix, const ResnetShape& shape);
  /// `hidden` (B, in, H, W), `time` (B, time_width) or undefined -> (B, out, H, W).
  torch::Tensor forward(const torch::Tensor& hidden, const torch::Tensor& time = {});

  nn::GroupNorm norm1{nullptr}, norm2{nullptr};
  nn::Conv2d conv1{nullptr}, conv2{nullptr};
  nn::Linear time_emb_proj{nullptr};  // null without a time embedding
  nn::Conv2d conv_shortcut{nullptr};  // null where in = out

 private:
  double output_scale_;
};

/// Where zeros stand around a picture that is halved: 1 on each side (the UNet), or 1 below and
/// 1 to the right (the autoencoder).
enum class DownsamplePadding { kAround, kAfter };

/// A 3x3 convolution of stride 2.
class SHIRA_API Downsample2D : public torch::nn::Module {
 public:
  Downsample2D(const ParameterSource& source, const std::string& prefix, std::int64_t channels,
               DownsamplePadding padding);
  /// (B, channels, H, W) -> half of it; an odd size is rounded up by kAround, down by kAfter.
  torch::Tensor forward(const torch::Tensor& hidden);

  nn::Conv2d conv{nullptr};

 private:
  DownsamplePadding padding_;
};

/// Each pixel repeated, then a 3x3 convolution.
class SHIRA_API Upsample2D : public torch::nn::Module {
 public:
  Upsample2D(const ParameterSource& source, const std::string& prefix, std::int64_t channels);
  /// (B, channels, H, W) -> (B, channels, 2 H, 2 W).
  torch::Tensor forward(const torch::Tensor& hidden);
  /// To `size` (height, width): nearest neighbours.
  torch::Tensor forward(const torch::Tensor& hidden, at::IntArrayRef size);

  nn::Conv2d conv{nullptr};
};

}  // namespace shira
