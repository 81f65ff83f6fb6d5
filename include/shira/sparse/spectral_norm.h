// The largest singular value of a matrix, also of one that exists only as a function.
#pragma once

#include <shira/base/export.h>

#include <torch/types.h>

#include <cstdint>
#include <functional>

namespace shira {

struct SpectralNorm {
  double value = 0.0;
  double error = 0.0;  // a singular value is this near; 0 where all of them were computed
};

/// By singular value decomposition in float64.
SHIRA_API SpectralNorm spectral_norm(const torch::Tensor& matrix);

/// Of M, given as `gram`: x -> M^T M x for x (size), float64. Lanczos' iteration: what power
/// iteration would find in as many products and more, since it keeps all directions seen. It starts
/// from a fixed random vector (Philox) and ends when `error` is below 1e-7 of the value, or after
/// 400 products: then `error` says how far it came.
SHIRA_API SpectralNorm
spectral_norm(std::int64_t size, const std::function<torch::Tensor(const torch::Tensor&)>& gram);

}  // namespace shira
