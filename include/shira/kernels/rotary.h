// Rotary position embedding of rows of heads, in one pass.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/export.h>

#include <cstdint>

namespace shira {

/// A row for each token: (tokens, heads, head_dim), F32, F64 or BF16. Token t takes row
/// t % table_rows of the tables.
struct RotaryShape {
  DType dtype = DType::kF32;
  std::int64_t tokens = 0;
  std::int64_t heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t table_rows = 0;
};

/// What is done with the angles: added by the forward pass, taken off by the backward one.
enum class Turn { kForward, kBack };

/// Turns the pair (x[i], x[i + head_dim / 2]) by the angle whose cosine and sine are in element i
/// of a row of the tables (table_rows, head_dim), which have the rows' dtype. `out` may be `x`.
/// ShapeError for an odd head_dim.
SHIRA_API void rotate(const RotaryShape& shape, const void* x, const void* cos, const void* sin,
                      Turn turn, void* out);

}  // namespace shira
