// The element types of checkpoint files, without LibTorch.
#pragma once

#include <shira/base/export.h>

#include <cstddef>
#include <optional>
#include <string_view>

namespace shira {

/// Those that LibTorch and safetensors share. Weights in memory are of the first four.
enum class DType {
  kF64,
  kF32,
  kF16,
  kBF16,
  kI64,
  kI32,
  kU8,
  kBool,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kF8E4M3FNUZ,
  kF8E5M2FNUZ,
  kC64
};

/// Bytes of one element.
SHIRA_API std::size_t item_size(DType dtype);

/// The safetensors spelling: "F32", "BF16", ...
SHIRA_API std::string_view dtype_name(DType dtype);

/// Whether weights of it can be computed with: F64, F32, F16 and BF16. Others are only copied.
SHIRA_API bool is_weight_dtype(DType dtype);

/// Whether a cast from `wide` to `narrow` keeps what a narrow value was: equal, or a superset.
SHIRA_API bool holds_exactly(DType wide, DType narrow);

/// The inverse of dtype_name; nothing for a dtype that is not supported.
SHIRA_API std::optional<DType> parse_dtype(std::string_view name);

}  // namespace shira
