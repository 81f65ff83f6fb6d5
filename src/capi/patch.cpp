// One tensor after the other: its parts, their positions, the base's values there, checks, then
// kernels/combine.h. The rules of exactness are that file's.
#include "patch.h"

#include "base_values.h"

#include <shira/base/error.h>
#include <shira/kernels/combine.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace shira::capi {
namespace {

/// One adapter's part in one tensor.
struct Part {
  const Adapter* adapter;
  const AdapterTarget* target;
  double scale;
};

std::vector<Part> parts_of(const std::string& name, const std::vector<ScaledAdapter>& adapters) {
  std::vector<Part> parts;
  for (const auto& [adapter, scale] : adapters) {
    const auto target = adapter->targets.find(name);
    if (target != adapter->targets.end()) parts.push_back({adapter, &target->second, scale});
  }
  return parts;
}

Contribution contribution_of(const Part& part, const Indices& everywhere) {
  const AdapterTarget& target = *part.target;
  const Indices& indices = target.indices ? target.indices : everywhere;
  return {*indices, target.values.get(), target.dtype, part.adapter->is_delta, part.scale};
}

/// Where the parts together act; null for the whole weight.
Indices indices_of(const std::vector<Part>& parts) {
  std::vector<Contribution> all;
  for (const Part& part : parts) {
    if (!part.target->indices) return nullptr;
    all.push_back(contribution_of(part, nullptr));
  }
  return parts.size() == 1
             ? parts[0].target->indices
             : std::make_shared<const std::vector<std::int32_t>>(union_of_indices(all));
}

/// The positions of a weight that is patched densely.
Indices everywhere_in(const BaseTensor& weight) {
  SHIRA_CHECK(ShapeError, weight.numel <= INT32_MAX, "has ", weight.numel,
              " entries, more than can be combined: one adapter at scale 1 is copied.");
  std::vector<std::int32_t> indices(weight.numel);
  std::iota(indices.begin(), indices.end(), 0);
  return std::make_shared<const std::vector<std::int32_t>>(std::move(indices));
}

void check_is_float(DType dtype) {
  SHIRA_CHECK(ShapeError, is_weight_dtype(dtype), "values of dtype ", dtype_name(dtype),
              " can only be copied (one adapter, scale 1, of the weight's dtype); sums need F64, "
              "F32, BF16 or F16.");
}

/// What the parts that act (those at scale 0 do not) make of the base's values.
Bytes patched_values(const BaseTensor& weight, const std::vector<Part>& parts,
                     const Indices& indices, const Bytes& original) {
  std::vector<Part> acting;
  std::copy_if(parts.begin(), parts.end(), std::back_inserter(acting),
               [](const Part& part) { return part.scale != 0.0; });
  if (acting.empty()) return original;
  const bool is_copy = parts.size() == 1 && !parts[0].adapter->is_delta && parts[0].scale == 1.0 &&
                       parts[0].target->dtype == weight.dtype;
  if (is_copy) return parts[0].target->values;
  check_is_float(weight.dtype);
  const Indices positions = indices ? indices : everywhere_in(weight);
  std::vector<Contribution> contributions;
  for (const Part& part : acting) {
    check_is_float(part.target->dtype);
    contributions.push_back(contribution_of(part, positions));
  }
  const std::size_t bytes = positions->size() * item_size(weight.dtype);
  const auto values = std::make_shared_for_overwrite<std::byte[]>(bytes);
  combine(*positions, original.get(), weight.dtype, contributions, values.get());
  check_sum("", original.get(), values.get(), weight.dtype,
            static_cast<std::int64_t>(positions->size()));
  return values;
}

void check_shapes(const BaseTensor& weight, const std::vector<Part>& parts) {
  for (const Part& part : parts) {
    SHIRA_CHECK(ShapeError, part.target->shape == weight.shape, "the base has shape ",
                shape_text(weight.shape), ", the adapter ", shape_text(part.target->shape), ".");
  }
}

/// Counts the parts that cannot be held against the base.
std::int64_t check_base(const BaseTensor& weight, const std::vector<Part>& parts,
                        const Indices& indices, const Bytes& original, bool force) {
  std::int64_t unchecked = 0;
  for (const auto& [adapter, target, scale] : parts) {
    if (!target->indices) continue;  // a whole replacement is of any base
    const std::optional<bool> is_same =
        force ? std::nullopt : is_same_base(*adapter, *target, indices, weight.dtype, original);
    unchecked += is_same.has_value() ? 0 : 1;
    SHIRA_CHECK(ShapeError, is_same.value_or(true),
                "the base's values under the mask differ from those the adapter was trained on.");
  }
  return unchecked;
}

PatchEntry resolve_entry(const BaseTensor& weight, const std::vector<Part>& parts,
                         const PatchEntry* applied, bool force, std::int64_t& unchecked) {
  check_shapes(weight, parts);
  const Indices indices = indices_of(parts);
  const Bytes original = base_values(weight, indices, applied);
  unchecked += check_base(weight, parts, indices, original, force);
  return {&weight, indices, patched_values(weight, parts, indices, original), original};
}

std::set<std::string> patched_names(const std::vector<ScaledAdapter>& adapters) {
  std::set<std::string> names;
  for (const ScaledAdapter& scaled : adapters) {
    for (const auto& [name, target] : scaled.adapter->targets) names.insert(name);
  }
  return names;
}

/// What described weights cannot become.
std::string problems_of_removed(const std::vector<ScaledAdapter>& adapters) {
  std::string problems;
  for (const ScaledAdapter& scaled : adapters) {
    for (const std::string& name : scaled.adapter->removed) {
      problems += "\n  " + name + ": the adapter removes it, which only `shira merge` can do.";
    }
  }
  return problems;
}

}  // namespace

Patch resolve(std::shared_ptr<const BaseTensors> base, const PatchEntries& applied,
              const std::vector<ScaledAdapter>& adapters, bool force) {
  std::string problems = problems_of_removed(adapters);
  PatchEntries entries;
  std::int64_t unchecked = 0;
  for (const std::string& name : patched_names(adapters)) {
    const auto weight = base->find(name);
    const auto covering = applied.find(name);
    try {
      SHIRA_CHECK(ShapeError, weight != base->end(), "the model has no such parameter.");
      entries.emplace(name, resolve_entry(weight->second, parts_of(name, adapters),
                                          covering == applied.end() ? nullptr : &covering->second,
                                          force, unchecked));
    } catch (const Error& error) {
      problems += "\n  " + name + ": " + error.what();
    }
  }
  SHIRA_CHECK(ShapeError, problems.empty(), "the adapter does not fit this base model:", problems,
              "\nUse the base it was trained on (adapter_config.json names it); `force` accepts "
              "other values, but no missing tensor and no other shape.");
  return {std::move(base), std::make_shared<const PatchEntries>(std::move(entries)), unchecked};
}

}  // namespace shira::capi
