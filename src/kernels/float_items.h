// The four floating-point dtypes of weights as types that convert exactly to double, and back with
// one rounding to nearest even.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/error.h>
#include <shira/kernels/rounding.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace shira::detail {

__extension__ using Float16 = _Float16;

/// The upper half of a float32.
struct BFloat16 {
  BFloat16() = default;
  explicit BFloat16(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t half = 0x7fffU + ((word >> 16U) & 1U);  // to nearest, ties to even
    bits = static_cast<std::uint16_t>((std::isnan(value) ? word | 0x400000U : word + half) >> 16U);
  }
  explicit BFloat16(double value) : BFloat16(round_to_odd(value)) {}
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
  }
  explicit operator double() const { return static_cast<float>(*this); }

  std::uint16_t bits;
};

/// Element k of an array that may be misaligned.
template <typename T>
T load_item(const void* items, std::size_t k) {
  T item;
  std::memcpy(&item, static_cast<const std::byte*>(items) + k * sizeof(T), sizeof(T));
  return item;
}

template <typename T>
void store_item(void* items, std::size_t k, T item) {
  std::memcpy(static_cast<std::byte*>(items) + k * sizeof(T), &item, sizeof(T));
}

/// Calls run(T{}) with the type of `dtype`; ShapeError for one that weights do not have.
template <typename Run>
void with_float_type(const char* function, DType dtype, Run run) {
  switch (dtype) {
    case DType::kF64: return run(double{});
    case DType::kF32: return run(float{});
    case DType::kBF16: return run(BFloat16{});
    case DType::kF16: return run(Float16{});
    default:
      throw ShapeError(
          concat(function, ": got dtype ", dtype_name(dtype), ", expected F64, F32, BF16 or F16"));
  }
}

}  // namespace shira::detail
