// kernels/parallel.h for the thread sanitizer, which does not see into OpenMP's runtime: a
// std::thread for each chunk.
#include <shira/kernels/parallel.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace shira {

void parallel_chunks(std::int64_t count, std::int64_t grain, ChunkBody body) {
  const std::int64_t chunks = chunk_count(count, grain);
  if (chunks == 1) return body(0, count, 0);
  std::vector<std::jthread> threads;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::int64_t begin = chunk * grain;
    threads.emplace_back([=] { body(begin, std::min(begin + grain, count), chunk); });
  }
}

}  // namespace shira
