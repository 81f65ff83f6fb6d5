// The highest rank that a matrix with given nonzero positions can have.
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <span>

namespace shira {

/// The structural rank of a pattern (rows, columns): the largest number of chosen entries of which
/// no two share a row or a column. Almost all values at these positions give a matrix of this rank.
/// `indices`: row-major flat positions, sorted and unique; ShapeError otherwise, or outside the
/// pattern.
SHIRA_API std::int64_t structural_rank(std::int64_t rows, std::int64_t columns,
                                       std::span<const std::int32_t> indices);

}  // namespace shira
