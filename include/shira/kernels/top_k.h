// The largest scores, or a later band of them, by counting instead of sorting.
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <span>
#include <vector>

namespace shira {

/// The entries of ranks [skip, skip + count) in the order "higher score first, lower index first
/// among equals", returned sorted by index. Three passes over `scores` and 0.75 MiB of counters.
/// ShapeError for a negative score or NaN, a rank beyond the end, or more than 2^31 scores.
SHIRA_API std::vector<std::int32_t> top_k_band(std::span<const float> scores, std::int64_t skip,
                                               std::int64_t count);

}  // namespace shira
