// Root-mean-square norm, forward and backward in one pass over the rows each.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/export.h>

#include <cstdint>

namespace shira {

/// Rows (rows, width) of one dtype: F32, F64 or BF16.
struct NormShape {
  DType dtype = DType::kF32;
  std::int64_t rows = 0;
  std::int64_t width = 0;
};

/// out = weight * round(x * scale), where scale = 1 / sqrt(mean(x^2) + eps) of a row and `weight`
/// (width) has the rows' dtype; rounding to that dtype before and after the weight, as transformers
/// does. Computed in float32 (float64 for F64).
SHIRA_API void rms_norm(const NormShape& shape, const void* x, const void* weight, double eps,
                        void* out);

/// The gradient for x of the same, from that for its result: with h = weight * grad,
/// scale * h - x * scale^3 * mean(h * x).
SHIRA_API void rms_norm_backward(const NormShape& shape, const void* grad, const void* x,
                                 const void* weight, double eps, void* x_grad);

}  // namespace shira
