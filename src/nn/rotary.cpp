// Frequencies and angles stay in float32 (as transformers computes them); only the finished tables
// take the model's dtype.
#include "float_kernels.h"

#include <shira/kernels/rotary.h>
#include <shira/nn/once_differentiable.h>
#include <shira/nn/rotary.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace shira::nn {
namespace {

/// theta^(-i / head_dim) for even i; `theta` () or (B, 1, 1).
torch::Tensor plain_frequencies(std::int64_t head_dim, const torch::Tensor& theta) {
  const torch::Tensor exponents =
      at::arange(0, head_dim, 2, torch::kInt64).to(torch::kFloat32) / static_cast<double>(head_dim);
  return 1.0 / at::pow(theta.to(torch::kFloat32), exponents);
}

/// _compute_dynamic_ntk_parameters, for texts of `lengths` positions, () or (B): each row of a
/// batch turns as it would alone.
torch::Tensor dynamic_frequencies(std::int64_t head_dim, double theta, const RopeScaling& scaling,
                                  const torch::Tensor& lengths) {
  const auto context = static_cast<double>(scaling.original_max_position_embeddings);
  const torch::Tensor longer = lengths.to(torch::kFloat64).clamp_min(context) / context;
  const auto dim = static_cast<double>(head_dim);
  const torch::Tensor stretch = scaling.factor * longer - (scaling.factor - 1.0);
  const torch::Tensor stretched = theta * stretch.pow(dim / (dim - 2.0));
  return plain_frequencies(head_dim, lengths.dim() == 0 ? stretched : stretched.view({-1, 1, 1}));
}

/// _compute_yarn_parameters: frequencies that turn more than beta_fast times within the context are
/// kept, those below beta_slow divided, between them a ramp.
torch::Tensor scale_yarn(const torch::Tensor& frequencies, double theta,
                         const RopeScaling& scaling) {
  const std::int64_t count = frequencies.size(0);
  const auto context = static_cast<double>(scaling.original_max_position_embeddings);
  const auto index_of_turns = [&](double turns) {
    return static_cast<double>(count) * std::log(context / (turns * 2 * std::numbers::pi)) /
           std::log(theta);
  };
  double low = index_of_turns(scaling.beta_fast), high = index_of_turns(scaling.beta_slow);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(2 * count - 1));
  if (low == high) high += 0.001;
  const torch::Tensor ramp =
      ((at::arange(count).to(torch::kFloat32) - low) / (high - low)).clamp(0, 1);
  const torch::Tensor kept = 1 - ramp;
  return frequencies / scaling.factor * (1 - kept) + frequencies * kept;
}

/// Low frequencies are divided by the factor, high ones kept, the band between is interpolated
/// (transformers' _compute_llama3_parameters).
torch::Tensor scale_llama3(const torch::Tensor& frequencies, const RopeScaling& scaling) {
  const auto context = static_cast<double>(scaling.original_max_position_embeddings);
  const double low_wavelength = context / scaling.low_freq_factor;
  const double high_wavelength = context / scaling.high_freq_factor;
  const torch::Tensor wavelengths = 2 * std::numbers::pi / frequencies;
  const torch::Tensor slowed =
      at::where(wavelengths > low_wavelength, frequencies / scaling.factor, frequencies);
  const torch::Tensor smooth = (context / wavelengths - scaling.low_freq_factor) /
                               (scaling.high_freq_factor - scaling.low_freq_factor);
  const torch::Tensor smoothed = (1 - smooth) * slowed / scaling.factor + smooth * slowed;
  const torch::Tensor between =
      (wavelengths >= high_wavelength).logical_and(wavelengths <= low_wavelength);
  return at::where(between, smoothed, slowed);
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

torch::Tensor rotated(const torch::Tensor& x, const torch::Tensor& cos, const torch::Tensor& sin,
                      Turn turn) {
  const RotaryShape shape = {to_dtype(x.scalar_type()), x.size(0) * x.size(1), x.size(2), x.size(3),
                             cos.numel() / x.size(3)};
  torch::Tensor out = at::empty_like(x);
  rotate(shape, x.const_data_ptr(), cos.const_data_ptr(), sin.const_data_ptr(), turn,
         out.mutable_data_ptr());
  return out;
}

/// The backward pass turns the gradient back; nothing but the tables is kept for it.
class RotaryFunction : public torch::autograd::Function<RotaryFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& cos, const torch::Tensor& sin) {
    context->save_for_backward({cos, sin});
    return rotated(x, cos, sin, Turn::kForward);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    check_once_differentiable("apply_rotary");
    const variable_list saved = context->get_saved_variables();
    return {rotated(grads[0].contiguous(), saved[0], saved[1], Turn::kBack), {}, {}};
  }
};

/// Whether `table` has x's dtype and a row for each of its tokens, or for each position of them.
bool fits(const torch::Tensor& table, const torch::Tensor& x) {
  const auto whole = {x.size(0), x.size(1), x.size(3)};
  const at::IntArrayRef by_sequence = whole, by_position = by_sequence.slice(1);
  return table.scalar_type() == x.scalar_type() &&
         (table.sizes() == by_position || table.sizes() == by_sequence);
}

torch::Tensor rotate_half(const torch::Tensor& x) {
  const auto halves = x.chunk(2, -1);
  return at::cat({-halves[1], halves[0]}, -1);
}

}  // namespace

Rotary::Rotary(std::int64_t head_dim, double theta, std::optional<RopeScaling> scaling)
    : head_dim_(head_dim),
      theta_(theta),
      scaling_(scaling),
      frequencies_(plain_frequencies(head_dim, at::scalar_tensor(theta, torch::kFloat64))) {
  if (!scaling) return;
  if (scaling->kind == RopeScaling::Kind::kLinear) frequencies_ = frequencies_ / scaling->factor;
  if (scaling->kind == RopeScaling::Kind::kLlama3) {
    frequencies_ = scale_llama3(frequencies_, *scaling);
  }
  if (scaling->kind == RopeScaling::Kind::kYarn) {
    frequencies_ = scale_yarn(frequencies_, theta, *scaling);
  }
}

torch::Tensor Rotary::frequencies_for(const torch::Tensor& positions) const {
  if (!scaling_ || scaling_->kind != RopeScaling::Kind::kDynamic) return frequencies_;
  return dynamic_frequencies(head_dim_, theta_, *scaling_, positions.amax(-1) + 1);
}

Rotary::Tables Rotary::tables(const torch::Tensor& positions,
                              const torch::TensorOptions& options) const {
  const torch::Tensor angles =
      positions.to(torch::kFloat32).unsqueeze(-1) * frequencies_for(positions);
  const torch::Tensor both = at::cat({angles, angles}, -1);
  const double factor = scaling_ ? scaling_->attention_factor : 1.0;
  return {(both.cos() * factor).to(options), (both.sin() * factor).to(options)};
}

Rotary::Tables Rotary::tables(std::int64_t start, std::int64_t length,
                              const torch::TensorOptions& options) const {
  return tables(at::arange(start, start + length), options);
}

torch::Tensor apply_rotary(const torch::Tensor& x, const Rotary::Tables& tables) {
  if (has_float_kernels(x) && fits(tables.cos, x) && fits(tables.sin, x)) {
    return RotaryFunction::apply(x.contiguous(), tables.cos.contiguous(), tables.sin.contiguous());
  }
  const torch::Tensor cos = tables.cos.unsqueeze(-2), sin = tables.sin.unsqueeze(-2);
  return x * cos + rotate_half(x) * sin;
}

}  // namespace shira::nn
