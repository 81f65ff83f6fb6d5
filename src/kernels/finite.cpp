// A value is not finite where all bits of its exponent are set. A block is first looked at as a
// whole, in a loop that the compiler vectorises.
#include <shira/base/error.h>
#include <shira/kernels/finite.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace shira {
namespace {

constexpr std::int64_t kBlock = 4096;

template <typename Bits>
Bits bits_at(const std::byte* values, std::int64_t k) {
  Bits bits;
  std::memcpy(&bits, values + static_cast<std::size_t>(k) * sizeof(Bits), sizeof(Bits));
  return bits;
}

template <typename Bits>
std::int64_t first_with_full_exponent(const void* items, std::int64_t count, Bits exponent) {
  const auto* values = static_cast<const std::byte*>(items);
  const auto is_full = [=](std::int64_t k) {
    return static_cast<Bits>(bits_at<Bits>(values, k) & exponent) == exponent;
  };
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t end = std::min(count, begin + kBlock);
    bool any = false;
    for (std::int64_t k = begin; k < end; ++k) any |= is_full(k);
    if (!any) continue;
    for (std::int64_t k = begin;; ++k) {
      if (is_full(k)) return k;
    }
  }
  return -1;
}

}  // namespace

std::int64_t first_not_finite(const void* values, DType dtype, std::int64_t count) {
  switch (dtype) {
    case DType::kF64:
      return first_with_full_exponent<std::uint64_t>(values, count, 0x7ff0000000000000);
    case DType::kF32: return first_with_full_exponent<std::uint32_t>(values, count, 0x7f800000);
    case DType::kBF16: return first_with_full_exponent<std::uint16_t>(values, count, 0x7f80);
    case DType::kF16: return first_with_full_exponent<std::uint16_t>(values, count, 0x7c00);
    default: return -1;
  }
}

void check_file_values(const std::string& tensor, std::span<const std::byte> values, DType dtype) {
  const auto count = static_cast<std::int64_t>(values.size() / item_size(dtype));
  SHIRA_CHECK(IoError, first_not_finite(values.data(), dtype, count) < 0, "tensor ", tensor,
              ": it has a value that is NaN or infinite: its training went wrong");
}

}  // namespace shira
