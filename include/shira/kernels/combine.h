// How several adapters' values for one weight become one list: the rules of exactness, in one
// place.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/export.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace shira {

/// What one adapter, at one scale, does to one weight.
struct Contribution {
  std::span<const std::int32_t> indices;  // sorted, unique
  const void* values = nullptr;           // as many, of `dtype`
  DType dtype = DType::kF32;              // F64, F32, BF16 or F16
  bool is_delta = false;                  // to be added to the base, not instead of it
  double scale = 1.0;

  /// Whether the values are what the weight becomes where nothing else acts.
  bool is_copy() const { return !is_delta && scale == 1.0; }
};

/// The positions that any contribution has, sorted and unique.
SHIRA_API std::vector<std::int32_t> union_of_indices(std::span<const Contribution> contributions);

/// The weight's values at `indices`, the union of all contributions' positions, from the base's own
/// there, both of `dtype` (F64, F32, BF16 or F16; ShapeError otherwise). Where one contribution
/// acts: new weights at scale 1 are copied, deltas give round(fp32(base) + fp32(scale) * fp32(v))
/// as PEFT's merge does (in float64 for an F64 base). Everything else is base + sum of scale * (new
/// - base) and scale * delta, formed in float64 in the order given and rounded once.
SHIRA_API void combine(std::span<const std::int32_t> indices, const void* base, DType dtype,
                       std::span<const Contribution> contributions, void* out);

/// ShapeError that names the weight when a sum that combine formed is not finite though the base
/// is: the scale is too large for the dtype.
SHIRA_API void check_sum(std::string_view name, const void* base, const void* sum, DType dtype,
                         std::int64_t count);

}  // namespace shira
