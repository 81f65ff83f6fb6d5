// Whether floating-point values are numbers.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/export.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace shira {

/// The place of the first NaN or infinity among `count` values, or -1. Values of another dtype than
/// F64, F32, BF16 and F16 are all finite.
SHIRA_API std::int64_t first_not_finite(const void* values, DType dtype, std::int64_t count);

/// IoError that names the tensor when any of these bytes of an adapter file's values is part of a
/// NaN or infinity.
SHIRA_API void check_file_values(const std::string& tensor, std::span<const std::byte> values,
                                 DType dtype);

}  // namespace shira
