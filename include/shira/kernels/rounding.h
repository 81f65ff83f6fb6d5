// Rounding a float64 once to a 16-bit float: through float32 it would be rounded twice.
#pragma once

#include <shira/base/export.h>

namespace shira {

/// Rounds to float32 by round-to-odd: rounding that result again to a type of at most 22 bits of
/// precision (bfloat16, float16) gives the same as rounding the float64 directly (Boldo and
/// Melquiond 2008, "Emulation of FMA and correctly rounded sums").
SHIRA_API float round_to_odd(double value);

}  // namespace shira
