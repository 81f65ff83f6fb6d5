// One loop an item size: the types do not matter, only how many bytes move. What takes the time is
// the cache line of each element, so the loops ask for the line of an element some way ahead; the
// processor would look ahead by itself only as far as its store buffer reaches.
#include <shira/base/error.h>
#include <shira/kernels/parallel.h>
#include <shira/kernels/scatter.h>

#include <algorithm>
#include <cstring>

namespace shira {
namespace {

/// Elements a task: some ten microseconds of work, long against starting it.
constexpr std::int64_t kScatterGrain = 8192;

/// Elements looked ahead: about the fastest of 24 to 160, hot and cold.
constexpr std::size_t kPrefetchDistance = 96;

// memcpy of a constant size is one load or store; unlike a cast it may be misaligned and of any
// type.

template <std::size_t kItemSize>
struct Items {
  std::byte* base;

  std::byte* at(std::int32_t index) const {
    return base + static_cast<std::size_t>(index) * kItemSize;
  }

  /// Calls body(k, element) for each k in [begin, end).
  template <int kForWriting, typename Body>
  void for_each(std::span<const std::int32_t> indices, std::size_t begin, std::size_t end,
                Body body) const {
    const std::size_t ahead_end = std::max(begin, end - std::min(end, kPrefetchDistance));
    std::size_t k = begin;
    for (; k < ahead_end; ++k) {
      __builtin_prefetch(at(indices[k + kPrefetchDistance]), kForWriting);
      body(k, at(indices[k]));
    }
    for (; k < end; ++k) body(k, at(indices[k]));
  }

  void gather(std::span<const std::int32_t> indices, std::size_t begin, std::size_t end,
              std::byte* out) const {
    for_each<0>(indices, begin, end, [=](std::size_t k, const std::byte* item) {
      std::memcpy(out + k * kItemSize, item, kItemSize);
    });
  }

  void scatter(std::span<const std::int32_t> indices, std::size_t begin, std::size_t end,
               const std::byte* values) const {
    for_each<1>(indices, begin, end, [=](std::size_t k, std::byte* item) {
      std::memcpy(item, values + k * kItemSize, kItemSize);
    });
  }

  void swap(std::span<const std::int32_t> indices, std::size_t begin, std::size_t end,
            const std::byte* values, std::byte* old) const {
    for_each<1>(indices, begin, end, [=](std::size_t k, std::byte* item) {
      std::byte value[kItemSize];
      std::memcpy(value, values + k * kItemSize, kItemSize);
      std::memcpy(old + k * kItemSize, item, kItemSize);
      std::memcpy(item, value, kItemSize);
    });
  }
};

/// Calls run(Items<item_size>) for the item size given.
template <typename Run>
void with_item_size(const char* function, const void* base, std::size_t item_size, Run run) {
  auto* bytes = static_cast<std::byte*>(const_cast<void*>(base));
  switch (item_size) {
    case 1: return run(Items<1>{bytes});
    case 2: return run(Items<2>{bytes});
    case 4: return run(Items<4>{bytes});
    case 8: return run(Items<8>{bytes});
    default:
      throw ShapeError(detail::concat(function, ": got elements of ", item_size,
                                      " bytes, expected 1, 2, 4 or 8"));
  }
}

/// Calls body(begin, end) for parts of [0, count), on all threads.
template <typename Body>
void in_parts(std::size_t count, Body body) {
  parallel_chunks(static_cast<std::int64_t>(count), kScatterGrain,
                  [&body](std::int64_t begin, std::int64_t end, std::int64_t) {
                    body(static_cast<std::size_t>(begin), static_cast<std::size_t>(end));
                  });
}

/// Where the first index of at least `limit` stands.
std::size_t lower_bound(std::span<const std::int32_t> indices, std::int64_t limit) {
  const auto found = std::lower_bound(indices.begin(), indices.end(), limit);
  return static_cast<std::size_t>(found - indices.begin());
}

}  // namespace

void gather(const void* base, std::span<const std::int32_t> indices, std::size_t item_size,
            void* out) {
  with_item_size("gather", base, item_size, [&](auto items) {
    in_parts(indices.size(), [&](std::size_t begin, std::size_t end) {
      items.gather(indices, begin, end, static_cast<std::byte*>(out));
    });
  });
}

void scatter(void* base, std::span<const std::int32_t> indices, std::size_t item_size,
             const void* values) {
  with_item_size("scatter", base, item_size, [&](auto items) {
    in_parts(indices.size(), [&](std::size_t begin, std::size_t end) {
      items.scatter(indices, begin, end, static_cast<const std::byte*>(values));
    });
  });
}

void swap(void* base, std::span<const std::int32_t> indices, std::size_t item_size,
          const void* values, void* old) {
  with_item_size("swap", base, item_size, [&](auto items) {
    in_parts(indices.size(), [&](std::size_t begin, std::size_t end) {
      items.swap(indices, begin, end, static_cast<const std::byte*>(values),
                 static_cast<std::byte*>(old));
    });
  });
}

void scatter_both(void* base, std::size_t item_size, ScatterSource first, ScatterSource second) {
  if (first.indices.empty()) return scatter(base, second.indices, item_size, second.values);
  // A part is a stretch of `base`: from the element of one index of `first` to that of another.
  const std::size_t count = first.indices.size();
  const auto part_of_second = [&](std::size_t at) {
    if (at == 0) return std::size_t{0};
    return at == count ? second.indices.size() : lower_bound(second.indices, first.indices[at]);
  };
  with_item_size("scatter_both", base, item_size, [&](auto items) {
    in_parts(count, [&](std::size_t begin, std::size_t end) {
      items.scatter(first.indices, begin, end, static_cast<const std::byte*>(first.values));
      items.scatter(second.indices, part_of_second(begin), part_of_second(end),
                    static_cast<const std::byte*>(second.values));
    });
  });
}

}  // namespace shira
