// Positions are sorted: two lists are gone through side by side.
#include "base_values.h"

#include "kernels/float_items.h"

#include <shira/io/checksum.h>
#include <shira/kernels/scatter.h>

#include <cstring>
#include <type_traits>

namespace shira::capi {
namespace {

/// Calls body(i, j) for each pair of places with a[i] == b[j].
template <typename Body>
void for_each_common(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b,
                     Body body) {
  std::size_t j = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    while (j < b.size() && b[j] < a[i]) ++j;
    if (j == b.size()) return;
    if (a[i] == b[j]) body(i, j);
  }
}

Bytes all_values(const BaseTensor& weight, const PatchEntry* applied) {
  const auto values = std::make_shared_for_overwrite<std::byte[]>(weight.byte_size());
  if (weight.numel > 0) std::memcpy(values.get(), weight.data, weight.byte_size());
  if (applied != nullptr) {
    scatter(values.get(), *applied->indices, item_size(weight.dtype), applied->original.get());
  }
  return values;
}

/// As LibTorch casts, which goes through float32: a checksum is of what training saw.
template <typename To, typename From>
To cast(From value) {
  if constexpr (std::is_same_v<To, double>)
    return static_cast<double>(value);
  else
    return static_cast<To>(static_cast<float>(value));
}

Bytes cast_values(const Bytes& values, DType from, DType to, std::size_t count) {
  if (from == to) return values;
  const auto out = std::make_shared_for_overwrite<std::byte[]>(count * item_size(to));
  detail::with_float_type("cast_values", from, [&](auto wide) {
    detail::with_float_type("cast_values", to, [&](auto narrow) {
      for (std::size_t k = 0; k < count; ++k) {
        const auto value = detail::load_item<decltype(wide)>(values.get(), k);
        detail::store_item(out.get(), k, cast<decltype(narrow)>(value));
      }
    });
  });
  return out;
}

/// `base`, the values at the indices `all`, at those of `mask`.
Bytes values_under(const std::vector<std::int32_t>& mask, const Indices& all, DType dtype,
                   const Bytes& base) {
  if (all && all->size() == mask.size()) return base;
  const std::size_t size = item_size(dtype);
  const auto out = std::make_shared_for_overwrite<std::byte[]>(mask.size() * size);
  if (!all) {
    gather(base.get(), mask, size, out.get());
    return out;
  }
  for_each_common(mask, *all, [&](std::size_t to, std::size_t from) {
    std::memcpy(out.get() + to * size, base.get() + from * size, size);
  });
  return out;
}

}  // namespace

Bytes base_values(const BaseTensor& weight, const Indices& indices, const PatchEntry* applied) {
  const bool is_covered = applied != nullptr && !applied->indices;
  if (!indices) return is_covered ? applied->original : all_values(weight, applied);
  const std::size_t size = item_size(weight.dtype);
  const auto values = std::make_shared_for_overwrite<std::byte[]>(indices->size() * size);
  gather(is_covered ? applied->original.get() : weight.data, *indices, size, values.get());
  if (applied != nullptr && !is_covered) {
    for_each_common(*indices, *applied->indices, [&](std::size_t to, std::size_t from) {
      std::memcpy(values.get() + to * size, applied->original.get() + from * size, size);
    });
  }
  return values;
}

std::optional<bool> is_same_base(const Adapter& adapter, const AdapterTarget& target,
                                 const Indices& all, DType dtype, const Bytes& base) {
  const DType trained = adapter.checksum_dtype(target);
  if (!target.base_checksum || !holds_exactly(dtype, trained)) return std::nullopt;
  const std::size_t count = target.indices->size();
  const Bytes bytes =
      cast_values(values_under(*target.indices, all, dtype, base), dtype, trained, count);
  return xxh3_64(bytes.get(), count * item_size(trained)) == *target.base_checksum;
}

}  // namespace shira::capi
