// Compiled with OpenMP and linked with the runtime that LibTorch brings along: one pool of threads
// in the process. (clang's runtime is another one: there the loop stays serial.)
#include <shira/base/error.h>
#include <shira/kernels/parallel.h>

#include <algorithm>
#include <exception>
#include <vector>

namespace shira {

void parallel_chunks(
    std::int64_t count, std::int64_t grain,
    const std::function<void(std::int64_t begin, std::int64_t end, std::int64_t chunk)>& body) {
  SHIRA_CHECK(ShapeError, count >= 0 && grain > 0, "parallel_chunks: got ", count,
              " items in chunks of ", grain, ", expected 0 or more in chunks of 1 or more");
  const std::int64_t chunks = chunk_count(count, grain);
  // An exception must not leave the OpenMP region.
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(chunks));
#pragma omp parallel for schedule(dynamic) if (chunks > 1)
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::int64_t begin = chunk * grain;
    try {
      body(begin, std::min(begin + grain, count), chunk);
    } catch (...) {
      failures[static_cast<std::size_t>(chunk)] = std::current_exception();
    }
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace shira
