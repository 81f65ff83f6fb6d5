// Compiled with OpenMP and linked with the runtime that LibTorch brings along: one pool of threads
// in the process. (clang's runtime is another one: there the loop stays serial.) Nothing is
// allocated: switching between resident patches must not wait for an allocator.
#include <shira/base/error.h>
#include <shira/kernels/parallel.h>

#include <algorithm>
#include <exception>

namespace shira {

void parallel_chunks(std::int64_t count, std::int64_t grain, ChunkBody body) {
  SHIRA_CHECK(ShapeError, count >= 0 && grain > 0, "parallel_chunks: got ", count,
              " items in chunks of ", grain, ", expected 0 or more in chunks of 1 or more");
  const std::int64_t chunks = chunk_count(count, grain);
  if (chunks == 1) return body(0, count, 0);  // a team of one would be allocated anew each time
  // An exception must not leave the OpenMP region.
  std::exception_ptr failure;
  std::int64_t failed_chunk = chunks;
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::int64_t begin = chunk * grain;
    try {
      body(begin, std::min(begin + grain, count), chunk);
    } catch (...) {
#pragma omp critical(shira_parallel_chunks_failure)
      if (chunk < failed_chunk) {
        failed_chunk = chunk;
        failure = std::current_exception();
      }
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace shira
