// The one seam through which kernels reach LibTorch's threads: OpenMP's, whose number
// at::set_num_threads sets.
#pragma once

#include <shira/base/export.h>

#include <concepts>
#include <cstdint>

namespace shira {

/// How many ranges of `grain` (the last one may be shorter) cover [0, count).
constexpr std::int64_t chunk_count(std::int64_t count, std::int64_t grain) {
  return (count + grain - 1) / grain;
}

/// How many items of `size` elements each make a task of a loop that is bound by memory: less would
/// not be worth waking another thread.
constexpr std::int64_t grain_of(std::int64_t size) {
  constexpr std::int64_t kElementsATask = 16384;
  return size >= kElementsATask ? 1 : kElementsATask / (size > 0 ? size : 1);
}

/// Refers to a callable for as long as a call lasts. (A std::function would allocate memory for
/// most of them, which switching between resident patches must not.)
class ChunkBody {
 public:
  template <std::invocable<std::int64_t, std::int64_t, std::int64_t> Body>
  ChunkBody(const Body& body)
      : body_(&body),
        call_([](const void* object, std::int64_t begin, std::int64_t end, std::int64_t chunk) {
          (*static_cast<const Body*>(object))(begin, end, chunk);
        }) {}

  void operator()(std::int64_t begin, std::int64_t end, std::int64_t chunk) const {
    call_(body_, begin, end, chunk);
  }

 private:
  const void* body_;
  void (*call_)(const void*, std::int64_t, std::int64_t, std::int64_t);
};

/// Calls body(begin, end, chunk) for each of these ranges, on several threads and in any order. The
/// ranges depend on `count` and `grain` alone, so that a result kept for each chunk does not depend
/// on the number of threads. All are called; of what they throw, the lowest chunk's is thrown on.
SHIRA_API void parallel_chunks(std::int64_t count, std::int64_t grain, ChunkBody body);

}  // namespace shira
