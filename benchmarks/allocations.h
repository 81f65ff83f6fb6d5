// Counts the process's allocations by standing in for malloc and posix_memalign (glibc), through
// which operator new and LibTorch's tensors go. Include it in one source of a program.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace shira::benchmarks {

struct Allocations {
  std::int64_t count = 0;
  std::int64_t bytes = 0;
};

inline std::atomic<std::int64_t> allocation_count = 0;
inline std::atomic<std::int64_t> allocated_bytes = 0;

inline void count_allocation(std::size_t size) noexcept {
  allocation_count.fetch_add(1, std::memory_order_relaxed);
  allocated_bytes.fetch_add(static_cast<std::int64_t>(size), std::memory_order_relaxed);
}

/// What `action` allocates, whether or not it frees it.
template <typename Action>
Allocations allocations_of(const Action& action) {
  const Allocations before{allocation_count, allocated_bytes};
  action();
  return {allocation_count - before.count, allocated_bytes - before.bytes};
}

}  // namespace shira::benchmarks

extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

__attribute__((visibility("default"))) void* malloc(std::size_t size) {
  shira::benchmarks::count_allocation(size);
  return __libc_malloc(size);
}

__attribute__((visibility("default"))) int posix_memalign(void** out, std::size_t alignment,
                                                          std::size_t size) noexcept {
  shira::benchmarks::count_allocation(size);
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}
}
