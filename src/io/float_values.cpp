#include "float_values.h"

#include <shira/base/error.h>

#include <bit>
#include <cmath>
#include <cstring>

namespace shira::detail {
namespace {

/// Item `index` of a tensor whose bytes may be misaligned.
template <typename Item>
Item item_at(const TensorView& view, std::size_t index) {
  Item item;
  std::memcpy(&item, view.data + index * sizeof(item), sizeof(item));
  return item;
}

float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

/// IEEE 754 binary16: sign, 5 bits of exponent, 10 of fraction.
float from_f16(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 1023;
  float value = std::ldexp(static_cast<float>(fraction), -24);
  if (exponent == 31) value = fraction == 0 ? HUGE_VALF : NAN;
  if (exponent > 0 && exponent < 31) {
    value = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

float float_at(const TensorView& view, std::size_t index) {
  switch (view.dtype) {
    case DType::kF32: return item_at<float>(view, index);
    case DType::kBF16: return from_bf16(item_at<std::uint16_t>(view, index));
    case DType::kF16: return from_f16(item_at<std::uint16_t>(view, index));
    default:
      throw IoError(
          concat("its dtype is ", dtype_name(view.dtype), ", expected F32, BF16 or F16."));
  }
}

std::int64_t whole_at(const TensorView& view, std::size_t index) {
  constexpr float kWholeFloats = 16777216;  // 2^24: F32 holds every whole number up to here
  switch (view.dtype) {
    case DType::kI32: return item_at<std::int32_t>(view, index);
    case DType::kI64: return item_at<std::int64_t>(view, index);
    case DType::kF32: {
      const auto value = item_at<float>(view, index);
      SHIRA_CHECK(IoError, std::abs(value) <= kWholeFloats && value == std::trunc(value),
                  "its item ", index, " is ", value, ", expected a whole number.");
      return static_cast<std::int64_t>(value);
    }
    default:
      throw IoError(concat("its dtype is ", dtype_name(view.dtype), ", expected I32 or I64."));
  }
}

std::size_t item_count(const TensorView& view) { return view.byte_size / item_size(view.dtype); }

}  // namespace

std::vector<float> finite_values(const TensorView& view) {
  std::vector<float> values(item_count(view));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = float_at(view, i);
    SHIRA_CHECK(IoError, std::isfinite(values[i]), "its item ", i, " is ", values[i],
                ", expected a finite value.");
  }
  return values;
}

std::vector<std::int64_t> whole_numbers(const TensorView& view) {
  std::vector<std::int64_t> numbers(item_count(view));
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = whole_at(view, i);
  return numbers;
}

}  // namespace shira::detail
