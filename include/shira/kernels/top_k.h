// The largest values by magnitude, or a later band of them, by selection instead of sorting.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/export.h>

#include <cstdint>
#include <vector>

namespace shira {

/// The entries of ranks [skip, skip + count) in the order "larger abs(value) first, lower index
/// first among equals", returned sorted by index. `values`: `size` items of F32, F16 or BF16.
/// Ordinarily one pass over them on all threads, and 8 bytes of scratch for each of the first skip
/// + count. ShapeError for another dtype, NaN, a rank beyond the end, or more than 2^31 values.
SHIRA_API std::vector<std::int32_t> top_k_band(const void* values, DType dtype, std::int64_t size,
                                               std::int64_t skip, std::int64_t count);

}  // namespace shira
