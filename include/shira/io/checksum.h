// XXH3-64, the checksum of adapter files.
#pragma once

#include <shira/base/export.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace shira {

/// XXH3-64 (seed 0) of `size` bytes.
SHIRA_API std::uint64_t xxh3_64(const void* data, std::size_t size);

}  // namespace shira
