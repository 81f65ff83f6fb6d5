// Reading and writing chosen elements of a flat array: what applies an adapter and takes it off.
// Elements have 1, 2, 4 or 8 bytes (ShapeError otherwise); pointers need no alignment. The caller
// guarantees that the indices lie within `base` and are sorted and unique: nothing is checked here.
// Many elements are shared out among the threads of kernels/parallel.h.
#pragma once

#include <shira/base/export.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace shira {

/// out[k] = base[indices[k]]
SHIRA_API void gather(const void* base, std::span<const std::int32_t> indices,
                      std::size_t item_size, void* out);

/// base[indices[k]] = values[k]
SHIRA_API void scatter(void* base, std::span<const std::int32_t> indices, std::size_t item_size,
                       const void* values);

/// old[k] = base[indices[k]], base[indices[k]] = values[k]: gather and scatter in one pass over the
/// memory of `base`. `old` and `values` may be the same array.
SHIRA_API void swap(void* base, std::span<const std::int32_t> indices, std::size_t item_size,
                    const void* values, void* old);

/// One set of elements and what is written to them.
struct ScatterSource {
  std::span<const std::int32_t> indices;
  const void* values = nullptr;
};

/// scatter(first), then scatter(second), which wins where both write. Goes through `base` once:
/// both sets' elements of one stretch are written while its cache lines are near.
SHIRA_API void scatter_both(void* base, std::size_t item_size, ScatterSource first,
                            ScatterSource second);

}  // namespace shira
