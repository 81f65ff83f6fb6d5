// The base's own values, whatever covers them just now.
#pragma once

#include "patch.h"

namespace shira::capi {

/// Those of `weight` at `indices`, or all of them where that is null, although `applied` (or null)
/// is on it.
Bytes base_values(const BaseTensor& weight, const Indices& indices, const PatchEntry* applied);

/// Whether `base`, the values of dtype `dtype` at the indices `all` (null: everywhere), are under
/// the target's mask those that the adapter was made for; nothing where that cannot be told: no
/// checksum, or a base of a narrower dtype.
std::optional<bool> is_same_base(const Adapter& adapter, const AdapterTarget& target,
                                 const Indices& all, DType dtype, const Bytes& base);

}  // namespace shira::capi
