// Cold caches, and the least that writing chosen elements can cost: fetching and dirtying the cache
// lines that they lie in.
#pragma once

#include <shira/kernels/parallel.h>

#include <ATen/Functions.h>
#include <torch/types.h>

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <string>

namespace shira::benchmarks {

constexpr std::int64_t kLineBytes = 64;
constexpr std::int64_t kLineWords = kLineBytes / 8;
constexpr std::int64_t kLinesAhead = 96;  // about the fastest of 0 to 256

/// Bytes of the largest cache that a core has, as Linux tells it.
inline std::int64_t last_level_cache() {
  std::int64_t largest = 0;
  for (int i = 0; i < 5; ++i) {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/size");
    std::int64_t kilobytes = 0;
    if (file >> kilobytes) largest = std::max(largest, 1024 * kilobytes);
  }
  return largest > 0 ? largest : std::int64_t{32} << 20;
}

/// What evict_caches writes: four times the largest cache, and no less than the processor says that
/// all of its cores' caches have together (a virtual machine sees a few of many cores).
inline std::int64_t evicted_bytes() {
  return std::max<std::int64_t>(4 * last_level_cache(), sysconf(_SC_LEVEL3_CACHE_SIZE));
}

/// Empties the caches of what was there by writing other memory, on all threads (which leaves them
/// awake).
inline void evict_caches(std::int64_t bytes = evicted_bytes()) {
  static const torch::Tensor buffer = at::zeros({bytes}, torch::kInt8);
  buffer.add_(1);
}

/// The numbers of the cache lines under sorted positions of a 64-byte aligned tensor: int32,
/// sorted, each once.
inline torch::Tensor lines_under(const torch::Tensor& indices, std::int64_t item_size) {
  const torch::Tensor lines =
      at::floor_divide(indices.to(torch::kInt64) * item_size, kLineBytes).to(torch::kInt32);
  return std::get<0>(at::unique_consecutive(lines));
}

/// Reads and writes back one word of each line, in ascending order and asking for the lines ahead:
/// what any scatter to these lines must do, without its values.
inline void touch_lines(void* base, const torch::Tensor& lines) {
  static volatile std::uint64_t hidden_zero = 0;  // the compiler must not see that nothing changes
  auto* words = static_cast<std::uint64_t*>(base);
  const auto* line = lines.const_data_ptr<std::int32_t>();
  const std::uint64_t zero = hidden_zero;
  const std::int64_t count = lines.numel();
  parallel_chunks(count, 8192, [=](std::int64_t begin, std::int64_t end, std::int64_t) {
    for (std::int64_t k = begin; k < end; ++k) {
      __builtin_prefetch(words + line[std::min(k + kLinesAhead, count - 1)] * kLineWords, 1);
      words[line[k] * kLineWords] += zero;
    }
  });
}

}  // namespace shira::benchmarks
