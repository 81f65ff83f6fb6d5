// One loop an item size: the types do not matter, only how many bytes move.
#include <shira/base/error.h>
#include <shira/kernels/scatter.h>

#include <cstring>

namespace shira {
namespace {

// memcpy of a constant size is one load or store; unlike a cast it may be misaligned and of any
// type.

template <std::size_t kItemSize>
void gather_items(const std::byte* base, std::span<const std::int32_t> indices, std::byte* out) {
  for (std::size_t k = 0; k < indices.size(); ++k) {
    std::memcpy(out + k * kItemSize, base + std::size_t(indices[k]) * kItemSize, kItemSize);
  }
}

template <std::size_t kItemSize>
void scatter_items(std::byte* base, std::span<const std::int32_t> indices,
                   const std::byte* values) {
  for (std::size_t k = 0; k < indices.size(); ++k) {
    std::memcpy(base + std::size_t(indices[k]) * kItemSize, values + k * kItemSize, kItemSize);
  }
}

[[noreturn]] void throw_item_size(const char* function, std::size_t item_size) {
  throw ShapeError(
      detail::concat(function, ": got elements of ", item_size, " bytes, expected 1, 2, 4 or 8"));
}

}  // namespace

void gather(const void* base, std::span<const std::int32_t> indices, std::size_t item_size,
            void* out) {
  const auto* from = static_cast<const std::byte*>(base);
  auto* to = static_cast<std::byte*>(out);
  switch (item_size) {
    case 1: return gather_items<1>(from, indices, to);
    case 2: return gather_items<2>(from, indices, to);
    case 4: return gather_items<4>(from, indices, to);
    case 8: return gather_items<8>(from, indices, to);
    default: throw_item_size("gather", item_size);
  }
}

void scatter(void* base, std::span<const std::int32_t> indices, std::size_t item_size,
             const void* values) {
  auto* to = static_cast<std::byte*>(base);
  const auto* from = static_cast<const std::byte*>(values);
  switch (item_size) {
    case 1: return scatter_items<1>(to, indices, from);
    case 2: return scatter_items<2>(to, indices, from);
    case 4: return scatter_items<4>(to, indices, from);
    case 8: return scatter_items<8>(to, indices, from);
    default: throw_item_size("scatter", item_size);
  }
}

}  // namespace shira
