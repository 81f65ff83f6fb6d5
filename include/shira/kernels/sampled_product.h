// Sampled dense-dense product (SDDMM): a few entries of a product of two dense matrices.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/export.h>

#include <cstdint>
#include <span>

namespace shira {

/// A row for each token, without gaps: (tokens, width), F32 or BF16.
struct TokenMatrix {
  const void* data = nullptr;
  DType dtype = DType::kF32;
  std::int64_t width = 0;
};

/// out[k] = sum_t left[t, row_k] * right[t, column_k], where index k, the flat position in a matrix
/// (left.width, right.width), is row_k * right.width + column_k. `indices` rise. Products and sums
/// are float32, and do not depend on the number of threads. ShapeError for other dtypes, and for
/// indices out of range.
SHIRA_API void sampled_product(const TokenMatrix& left, const TokenMatrix& right,
                               std::int64_t tokens, std::span<const std::int32_t> indices,
                               float* out);

}  // namespace shira
