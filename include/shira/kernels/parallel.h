// The one seam through which kernels reach LibTorch's threads: OpenMP's, whose number
// at::set_num_threads sets.
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <functional>

namespace shira {

/// How many ranges of `grain` (the last one may be shorter) cover [0, count).
constexpr std::int64_t chunk_count(std::int64_t count, std::int64_t grain) {
  return (count + grain - 1) / grain;
}

/// Calls body(begin, end, chunk) for each of these ranges, on several threads and in any order. The
/// ranges depend on `count` and `grain` alone, so that a result kept for each chunk does not depend
/// on the number of threads. All are called; of what they throw, the lowest chunk's is thrown on.
SHIRA_API void parallel_chunks(
    std::int64_t count, std::int64_t grain,
    const std::function<void(std::int64_t begin, std::int64_t end, std::int64_t chunk)>& body);

}  // namespace shira
