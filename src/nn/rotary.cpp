// Frequencies and angles stay in float32 (as transformers computes them); only the finished tables
// take the model's dtype.
#include <shira/nn/rotary.h>

#include <ATen/Functions.h>

#include <numbers>

namespace shira::nn {
namespace {

/// Low frequencies are divided by the factor, high ones kept, the band between is interpolated
/// (transformers' _compute_llama3_parameters).
torch::Tensor scale_llama3(const torch::Tensor& frequencies, const Llama3RopeScaling& scaling) {
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

torch::Tensor rotate_half(const torch::Tensor& x) {
  const auto halves = x.chunk(2, -1);
  return at::cat({-halves[1], halves[0]}, -1);
}

}  // namespace

Rotary::Rotary(std::int64_t head_dim, double theta, std::optional<Llama3RopeScaling> scaling) {
  const torch::Tensor exponents =
      at::arange(0, head_dim, 2, torch::kInt64).to(torch::kFloat32) / static_cast<double>(head_dim);
  inverse_frequencies_ = 1.0 / at::pow(at::scalar_tensor(theta, torch::kFloat32), exponents);
  if (scaling) inverse_frequencies_ = scale_llama3(inverse_frequencies_, *scaling);
}

Rotary::Tables Rotary::tables(const torch::Tensor& positions, torch::ScalarType dtype) const {
  const torch::Tensor places = positions.dim() == 2 ? positions.unsqueeze(1) : positions;
  const torch::Tensor angles = places.to(torch::kFloat32).unsqueeze(-1) * inverse_frequencies_;
  const torch::Tensor both = at::cat({angles, angles}, -1);
  return {both.cos().to(dtype), both.sin().to(dtype)};
}

Rotary::Tables Rotary::tables(std::int64_t start, std::int64_t length,
                              torch::ScalarType dtype) const {
  return tables(at::arange(start, start + length), dtype);
}

torch::Tensor apply_rotary(const torch::Tensor& x, const Rotary::Tables& tables) {
  return x * tables.cos + rotate_half(x) * tables.sin;
}

}  // namespace shira::nn
