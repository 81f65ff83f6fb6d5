// Values and positions out of hostile tensors, as numbers.
#pragma once

#include <shira/io/safetensors.h>

#include <cstdint>
#include <vector>

namespace shira::detail {

/// The values of an F32, BF16 or F16 tensor; IoError for another dtype or one that is not finite.
std::vector<float> finite_values(const TensorView& view);

/// The whole numbers of an I32, I64 or F32 tensor; IoError for another dtype or a fraction.
std::vector<std::int64_t> whole_numbers(const TensorView& view);

}  // namespace shira::detail
