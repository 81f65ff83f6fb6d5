// Where two arrays differ, bit for bit: NaN equals NaN of the same bits, 0.0 is not -0.0.
#pragma once

#include <shira/base/export.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace shira {

/// Whether two arrays of `size` bytes are equal; read on all threads.
SHIRA_API bool are_equal_bytes(const void* a, const void* b, std::size_t size);

/// The sorted positions at which two arrays of `count` items of 1, 2, 4 or 8 bytes differ; nothing
/// when they are more than `most`. Pointers need no alignment; read on all threads. ShapeError for
/// another item size, or 2^31 items and more: positions are int32.
SHIRA_API std::optional<std::vector<std::int32_t>> find_differences(const void* a, const void* b,
                                                                    std::int64_t count,
                                                                    std::size_t item_size,
                                                                    std::int64_t most);

}  // namespace shira
