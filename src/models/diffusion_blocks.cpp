// Equal to diffusers' ResnetBlock2D, Downsample2D and Upsample2D, as far as Stable Diffusion uses
// their options.
#include <shira/models/diffusion_blocks.h>

#include <ATen/Functions.h>

namespace shira {

ResnetBlock2D::ResnetBlock2D(const ParameterSource& source, const std::string& prefix,
                             const ResnetShape& shape)
    : output_scale_(shape.output_scale) {
  PartBuilder build(*this, source, prefix);
  norm1 = build.group_norm("norm1", shape.groups, shape.in, shape.eps);
  conv1 = build.conv2d("conv1", shape.out, shape.in, 3);
  if (shape.time_width > 0) {
    time_emb_proj = build.linear("time_emb_proj", shape.out, shape.time_width);
  }
  norm2 = build.group_norm("norm2", shape.groups, shape.out, shape.eps);
  conv2 = build.conv2d("conv2", shape.out, shape.out, 3);
  if (shape.in != shape.out) conv_shortcut = build.conv2d("conv_shortcut", shape.out, shape.in, 1);
}

torch::Tensor ResnetBlock2D::forward(const torch::Tensor& hidden, const torch::Tensor& time) {
  torch::Tensor inner = conv1->forward(at::silu(norm1->forward(hidden)));
  if (!time_emb_proj.is_empty()) {
    inner = inner + time_emb_proj->forward(at::silu(time)).unsqueeze(-1).unsqueeze(-1);
  }
  inner = conv2->forward(at::silu(norm2->forward(inner)));
  const torch::Tensor sum =
      (conv_shortcut.is_empty() ? hidden : conv_shortcut->forward(hidden)) + inner;
  return output_scale_ == 1.0 ? sum : sum / output_scale_;
}

Downsample2D::Downsample2D(const ParameterSource& source, const std::string& prefix,
                           std::int64_t channels, DownsamplePadding padding)
    : padding_(padding) {
  const std::int64_t around = padding == DownsamplePadding::kAround ? 1 : 0;
  conv =
      PartBuilder(*this, source, prefix)
          .conv2d("conv", channels, channels, 3, {.stride = {2, 2}, .padding = {around, around}});
}

torch::Tensor Downsample2D::forward(const torch::Tensor& hidden) {
  if (padding_ == DownsamplePadding::kAround) return conv->forward(hidden);
  return conv->forward(at::constant_pad_nd(hidden, {0, 1, 0, 1}));
}

Upsample2D::Upsample2D(const ParameterSource& source, const std::string& prefix,
                       std::int64_t channels) {
  conv = PartBuilder(*this, source, prefix).conv2d("conv", channels, channels, 3);
}

torch::Tensor Upsample2D::forward(const torch::Tensor& hidden) {
  return forward(hidden, {2 * hidden.size(2), 2 * hidden.size(3)});
}

torch::Tensor Upsample2D::forward(const torch::Tensor& hidden, at::IntArrayRef size) {
  return conv->forward(at::upsample_nearest2d(hidden, size));
}

}  // namespace shira
