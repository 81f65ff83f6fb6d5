// Which samples share a sequence.
#pragma once

#include <cstdint>
#include <vector>

namespace shira {

/// Best fit, in the order given: each item goes where the least room is left that still takes it,
/// or opens a new sequence. Gives the items of each sequence; none is longer than `capacity`.
/// O(n log n).
std::vector<std::vector<std::int64_t>> pack_best_fit(const std::vector<std::int64_t>& lengths,
                                                     std::int64_t capacity);

}  // namespace shira
