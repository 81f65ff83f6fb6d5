// Which entries of a weight matrix are trained, to look at.
#pragma once

#include <shira/base/export.h>
#include <shira/io/picture.h>

#include <cstdint>
#include <span>

namespace shira {

/// The matrix in dark on white within a thin frame. `indices` are flattened, row * cols + column.
/// A matrix of more than 1024 rows or columns is drawn in blocks: the darker the pixel, the larger
/// the trained share of its block, and one trained entry is enough to be seen. One of less than 256
/// is enlarged. ShapeError for an empty matrix or an index outside of it.
SHIRA_API Picture draw_mask(std::int64_t rows, std::int64_t cols,
                            std::span<const std::int32_t> indices);

}  // namespace shira
