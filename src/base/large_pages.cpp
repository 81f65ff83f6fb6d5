#include "large_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace shira {

void detail::want_large_pages([[maybe_unused]] void* memory,
                              [[maybe_unused]] std::size_t size) noexcept {
#ifdef MADV_HUGEPAGE
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(memory) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(memory) + size) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

}  // namespace shira
