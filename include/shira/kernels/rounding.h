// Rounding a float64 once to a 16-bit float: through float32 it would be rounded twice.
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <span>

namespace shira {

/// Rounds each float64 to float32 by round-to-odd: rounding that result again to a type of at most
/// 22 bits of precision (bfloat16, float16) gives the same as rounding the float64 directly
/// (Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums").
SHIRA_API void round_to_odd(std::span<const double> values, float* out);

}  // namespace shira
