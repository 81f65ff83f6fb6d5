// The xxhash library, compiled into this file alone.
#include <shira/io/checksum.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace shira {

std::uint64_t xxh3_64(const void* data, std::size_t size) { return XXH3_64bits(data, size); }

}  // namespace shira
