// Reading and writing chosen elements of a flat array: what applies an adapter and takes it off.
#pragma once

#include <shira/base/export.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace shira {

/// out[k] = base[indices[k]] for elements of 1, 2, 4 or 8 bytes (ShapeError otherwise). Pointers
/// need no alignment. The caller guarantees that indices lie within `base`: nothing is checked
/// here.
SHIRA_API void gather(const void* base, std::span<const std::int32_t> indices,
                      std::size_t item_size, void* out);

/// base[indices[k]] = values[k], under the same conditions; of a repeated index the last value
/// stays.
SHIRA_API void scatter(void* base, std::span<const std::int32_t> indices, std::size_t item_size,
                       const void* values);

}  // namespace shira
