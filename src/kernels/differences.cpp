// Two passes over chunks: the first counts, so that the second knows where each chunk's positions
// go. Most chunks of most tensors are equal, which memcmp sees fastest.
#include <shira/base/error.h>
#include <shira/kernels/differences.h>
#include <shira/kernels/parallel.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

namespace shira {
namespace {

constexpr std::int64_t kCompareGrain = 65536;  // items of a chunk
constexpr std::int64_t kCompareBlock = 256;    // items that one memcmp looks at
constexpr std::int64_t kByteGrain = 1 << 20;

/// Calls found(k) for every item of [begin, end) that differs, in order.
template <typename T, typename Found>
void for_each_difference(const std::byte* a, const std::byte* b, std::int64_t begin,
                         std::int64_t end, Found found) {
  const auto at = [](std::int64_t item) { return static_cast<std::size_t>(item) * sizeof(T); };
  for (std::int64_t first = begin; first < end; first += kCompareBlock) {
    const std::int64_t last = std::min(first + kCompareBlock, end);
    if (std::memcmp(a + at(first), b + at(first), at(last - first)) == 0) continue;
    for (std::int64_t k = first; k < last; ++k) {
      if (std::memcmp(a + at(k), b + at(k), sizeof(T)) != 0) found(k);
    }
  }
}

template <typename T>
std::optional<std::vector<std::int32_t>> differences_of(const std::byte* a, const std::byte* b,
                                                        std::int64_t count, std::int64_t most) {
  // ends[chunk + 1]: how many differences there are up to the end of the chunk.
  std::vector<std::int64_t> ends(static_cast<std::size_t>(chunk_count(count, kCompareGrain)) + 1);
  parallel_chunks(count, kCompareGrain,
                  [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
                    std::int64_t found = 0;
                    for_each_difference<T>(a, b, begin, end, [&](std::int64_t) { ++found; });
                    ends[static_cast<std::size_t>(chunk) + 1] = found;
                  });
  std::partial_sum(ends.begin(), ends.end(), ends.begin());
  if (ends.back() > most) return std::nullopt;
  std::vector<std::int32_t> positions(static_cast<std::size_t>(ends.back()));
  parallel_chunks(count, kCompareGrain,
                  [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
                    const auto* place = ends.data() + chunk;
                    if (place[0] == place[1]) return;
                    auto next = static_cast<std::size_t>(place[0]);
                    for_each_difference<T>(a, b, begin, end, [&](std::int64_t k) {
                      positions[next++] = static_cast<std::int32_t>(k);
                    });
                  });
  return positions;
}

}  // namespace

bool are_equal_bytes(const void* a, const void* b, std::size_t size) {
  const auto count = static_cast<std::int64_t>(size);
  std::vector<char> differs(static_cast<std::size_t>(chunk_count(count, kByteGrain)));
  parallel_chunks(count, kByteGrain, [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
    differs[static_cast<std::size_t>(chunk)] =
        std::memcmp(static_cast<const std::byte*>(a) + begin,
                    static_cast<const std::byte*>(b) + begin,
                    static_cast<std::size_t>(end - begin)) != 0;
  });
  return std::find(differs.begin(), differs.end(), 1) == differs.end();
}

std::optional<std::vector<std::int32_t>> find_differences(const void* a, const void* b,
                                                          std::int64_t count, std::size_t item_size,
                                                          std::int64_t most) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  SHIRA_CHECK(ShapeError, 0 <= count && count <= kMost, "find_differences: got ", count,
              " items, expected less than 2^31");
  const auto* first = static_cast<const std::byte*>(a);
  const auto* second = static_cast<const std::byte*>(b);
  switch (item_size) {
    case 1: return differences_of<std::uint8_t>(first, second, count, most);
    case 2: return differences_of<std::uint16_t>(first, second, count, most);
    case 4: return differences_of<std::uint32_t>(first, second, count, most);
    case 8: return differences_of<std::uint64_t>(first, second, count, most);
    default:
      throw ShapeError(detail::concat("find_differences: got items of ", item_size,
                                      " bytes, expected 1, 2, 4 or 8"));
  }
}

}  // namespace shira
