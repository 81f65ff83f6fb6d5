// Operands of the kernels in F32, F64 or BF16, which tests read and write in double precision.
#pragma once

#include <shira/base/dtype.h>

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

namespace shira {

/// The nearer of the two bfloat16 neighbours of `value`, the even one of a tie.
inline float nearest_bfloat16(float value) {
  if (!std::isfinite(value)) return value;
  const std::uint32_t inner = std::bit_cast<std::uint32_t>(value) & 0xFFFF0000U;
  const std::uint32_t outer = inner + 0x10000U;
  const auto magnitude = [](std::uint32_t bits) {
    const auto size = std::abs(static_cast<double>(std::bit_cast<float>(bits)));
    return std::isinf(size) ? std::ldexp(1.0, 128) : size;
  };
  const double to_inner = std::abs(static_cast<double>(value)) - magnitude(inner);
  const double to_outer = magnitude(outer) - std::abs(static_cast<double>(value));
  const bool is_outer_even = (outer >> 16U) % 2 == 0;
  const bool takes_outer = to_outer < to_inner || (to_outer == to_inner && is_outer_even);
  return std::bit_cast<float>(takes_outer ? outer : inner);
}

/// Floats of a dtype, one after another.
class FloatArray {
 public:
  FloatArray(DType dtype, const std::vector<double>& values)
      : dtype_(dtype), bytes_(values.size() * item_size(dtype)) {
    for (std::size_t k = 0; k < values.size(); ++k) set(k, values[k]);
  }

  /// `count` NaN, to be written over.
  static FloatArray unset(DType dtype, std::int64_t count) {
    return FloatArray(dtype, std::vector<double>(static_cast<std::size_t>(count), NAN));
  }
  /// Drawn from the normal distribution.
  static FloatArray random(DType dtype, std::int64_t count, unsigned seed, double scale = 1.0) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal(0.0, scale);
    std::vector<double> values(static_cast<std::size_t>(count));
    for (double& value : values) value = normal(random);
    return FloatArray(dtype, values);
  }

  std::size_t size() const { return bytes_.size() / item_size(dtype_); }
  const void* data() const { return bytes_.data(); }
  void* data() { return bytes_.data(); }

  double operator[](std::size_t k) const {
    if (dtype_ == DType::kF64) return item<double>(k);
    if (dtype_ == DType::kF32) return item<float>(k);
    return std::bit_cast<float>(static_cast<std::uint32_t>(item<std::uint16_t>(k)) << 16U);
  }
  /// Rounds to the dtype.
  void set(std::size_t k, double value) {
    const auto narrow = static_cast<float>(value);
    if (dtype_ == DType::kF64) return put(k, value);
    if (dtype_ == DType::kF32) return put(k, narrow);
    put(k,
        static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(nearest_bfloat16(narrow)) >> 16U));
  }
  /// The same values, rounded to another dtype.
  FloatArray to(DType dtype) const {
    std::vector<double> values;
    for (std::size_t k = 0; k < size(); ++k) values.push_back((*this)[k]);
    return FloatArray(dtype, values);
  }

 private:
  template <typename T>
  T item(std::size_t k) const {
    T value;
    std::memcpy(&value, bytes_.data() + k * sizeof(T), sizeof(T));
    return value;
  }
  template <typename T>
  void put(std::size_t k, T value) {
    std::memcpy(bytes_.data() + k * sizeof(T), &value, sizeof(T));
  }

  DType dtype_;
  std::vector<std::byte> bytes_;
};

/// The rounding error of one operation in F32 or F64, relative.
inline double unit_roundoff(DType dtype) {
  return std::ldexp(1.0, dtype == DType::kF64 ? -53 : -24);
}

/// Expects `got`, of bfloat16, to be what float32 arithmetic gave for the same operands, rounded
/// once to nearest: equal bits, or both NaN.
inline void expect_rounded(const FloatArray& got, const FloatArray& float32) {
  ASSERT_EQ(got.size(), float32.size());
  for (std::size_t k = 0; k < got.size(); ++k) {
    const double expected = nearest_bfloat16(static_cast<float>(float32[k]));
    if (std::isnan(expected) && std::isnan(got[k])) continue;
    ASSERT_EQ(std::bit_cast<std::uint64_t>(got[k]), std::bit_cast<std::uint64_t>(expected))
        << "element " << k << ": got " << got[k] << ", expected " << expected;
  }
}

}  // namespace shira
