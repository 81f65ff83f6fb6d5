// One parameter after the other: its contributions, their union, the base's values there, checks,
// then kernels/combine.h. The rules of exactness are that file's.
#include "patch_checks.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/kernels/combine.h>
#include <shira/sparse/scatter_into.h>
#include <shira/sparse/tensor_file.h>
#include <shira/sparse/weight_patch.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cstring>
#include <span>

namespace shira {
namespace {

/// One adapter's part in one parameter: sparse, whole, or LoRA's factors.
struct Part {
  const SparseAdapter* adapter;
  const SparseTensor* sparse;  // or null
  const LoraTensor* lora;      // or null
  torch::Tensor whole;         // or undefined; what LoRA changes, once the base is known
  double scale;

  bool is_delta() const { return lora != nullptr || adapter->kind == ValueKind::kDeltas; }
};

std::vector<Part> parts_of(const std::string& name, const std::vector<ScaledAdapter>& adapters) {
  std::vector<Part> parts;
  for (const ScaledAdapter& scaled : adapters) {
    const SparseAdapter& adapter = scaled.adapter;
    const auto sparse = adapter.tensors.find(name);
    const auto whole = adapter.whole.find(name);
    if (sparse != adapter.tensors.end()) {
      parts.push_back({&adapter, &sparse->second, nullptr, {}, scaled.scale});
    } else if (whole != adapter.whole.end()) {
      parts.push_back({&adapter, nullptr, nullptr, whole->second, scaled.scale});
    }
    const auto lora = scaled.lora.tensors.find(name);
    if (lora != scaled.lora.tensors.end()) {
      parts.push_back({&adapter, nullptr, &lora->second, {}, scaled.scale});
    }
  }
  return parts;
}

std::span<const std::int32_t> span_of(const torch::Tensor& indices) {
  return {indices.const_data_ptr<std::int32_t>(), static_cast<std::size_t>(indices.numel())};
}

torch::Tensor tensor_of(const std::vector<std::int32_t>& indices) {
  torch::Tensor tensor = at::empty({std::ssize(indices)}, torch::kInt32);
  if (!indices.empty()) std::memcpy(tensor.mutable_data_ptr(), indices.data(), tensor.nbytes());
  return tensor;
}

[[noreturn]] void throw_other_base(const std::string& name) {
  throw Error(name +
              ": the base's values under the mask differ from those the adapter was trained on.");
}

/// `all`, the base's values at the sorted positions `indices`, at the part of them that `mask` has.
torch::Tensor values_under(const SparseMask& mask, const torch::Tensor& indices,
                           const torch::Tensor& all) {
  if (mask.nnz() == indices.numel()) return all;
  return all.index_select(0, at::searchsorted(indices, mask.indices()));
}

std::vector<std::int64_t> shape_of(const Part& part) {
  if (part.lora != nullptr) return weight_shape(*part.lora);
  return part.sparse != nullptr ? part.sparse->mask.shape() : part.whole.sizes().vec();
}

const torch::Tensor& values_of(const Part& part) {
  return part.sparse != nullptr ? part.sparse->values : part.whole;
}

/// `everywhere`: all positions, which a whole part has. What LoRA changes is scaled already.
Contribution contribution_of(const Part& part, const torch::Tensor& everywhere) {
  const torch::Tensor& values = values_of(part);
  return {span_of(part.sparse != nullptr ? part.sparse->mask.indices() : everywhere),
          values.const_data_ptr(), to_dtype(values.scalar_type()), part.is_delta(),
          part.lora != nullptr ? 1.0 : part.scale};
}

/// Integers and 8-bit floats can be copied, but not scaled, converted or added up.
void check_dtypes(const std::string& name, torch::ScalarType base, const std::vector<Part>& parts) {
  bool computable = is_weight_dtype(to_dtype(base));
  for (const Part& part : parts) {
    computable &= is_weight_dtype(to_dtype(values_of(part).scalar_type()));
  }
  SHIRA_CHECK(
      ShapeError, computable, name, ": the base's dtype is ", torch_dtype_name(base),
      ", the adapter's ", torch_dtype_name(values_of(parts[0]).scalar_type()),
      ". Where one of them is an integer or 8-bit dtype they must be equal, and the adapter "
      "goes on alone, at scale 1.");
}

torch::Tensor combined(const std::string& name, const torch::Tensor& indices,
                       const torch::Tensor& base, const std::vector<Contribution>& contributions) {
  if (contributions.empty()) return base;  // scale 0
  const DType dtype = to_dtype(base.scalar_type());
  torch::Tensor values = at::empty_like(base);
  combine(span_of(indices), base.const_data_ptr(), dtype, contributions, values.mutable_data_ptr());
  check_sum(name, base.const_data_ptr(), values.const_data_ptr(), dtype, base.numel());
  return values;
}

/// Reads the base's values at `indices` and makes the entry of them.
PatchEntry entry_at(const std::string& name, const torch::Tensor& weight,
                    const std::vector<Part>& parts, const torch::Tensor& indices,
                    const torch::Tensor& original, bool force) {
  const torch::Tensor base = original.cpu().contiguous();
  std::vector<Contribution> contributions;
  for (const Part& part : parts) {
    const bool fits = part.sparse == nullptr || force ||
                      is_same_base(*part.adapter, *part.sparse,
                                   values_under(part.sparse->mask, indices, base.view({-1})));
    if (!fits) throw_other_base(name);
    if (part.scale != 0.0) contributions.push_back(contribution_of(part, indices));
  }
  const bool is_copy = parts.size() == 1 && contributions.size() == 1 &&
                       contributions[0].is_copy() &&
                       contributions[0].dtype == to_dtype(base.scalar_type());
  if (!is_copy && !contributions.empty()) check_dtypes(name, base.scalar_type(), parts);
  const torch::Tensor patched =
      is_copy ? values_of(parts[0]) : combined(name, indices, base, contributions);
  return {weight.sizes().vec(), indices_for(weight, indices), patched.to(weight.device()),
          original};
}

PatchEntry sparse_entry(const std::string& name, const torch::Tensor& weight,
                        const std::vector<Part>& parts, const BaseValues& base_values, bool force) {
  std::vector<Contribution> all;
  for (const Part& part : parts) all.push_back(contribution_of(part, {}));
  const torch::Tensor indices =
      parts.size() == 1 ? parts[0].sparse->mask.indices() : tensor_of(union_of_indices(all));
  return entry_at(name, weight, parts, indices, base_values(name, indices_for(weight, indices)),
                  force);
}

/// What `compute` makes of a LoRA part; a ShapeError names the parameter.
torch::Tensor of_lora(const std::string& name, const Part& part, const torch::Tensor& original,
                      decltype(&merged_weight) compute) {
  try {
    return compute(*part.lora, original, part.scale).contiguous();
  } catch (const ShapeError& error) {
    throw ShapeError(name + ": " + error.what());
  }
}

PatchEntry dense_entry(const std::string& name, const torch::Tensor& weight,
                       std::vector<Part> parts, const BaseValues& base_values, bool force) {
  const torch::Tensor original = base_values(name, {});
  if (parts.size() == 1 && parts[0].lora != nullptr) {
    const torch::Tensor merged = of_lora(name, parts[0], original, merged_weight);
    return {weight.sizes().vec(), {}, merged, original};
  }
  for (Part& part : parts) {
    if (part.lora != nullptr) part.whole = of_lora(name, part, original, weight_change).cpu();
  }
  const torch::Tensor everywhere = at::arange(weight.numel(), torch::kInt32);
  PatchEntry entry = entry_at(name, weight, parts, everywhere, original, force);
  entry.indices = torch::Tensor();
  entry.patched = entry.patched.view(weight.sizes());
  return entry;
}

/// What a model in memory cannot become.
std::string problems_of_parameters(const std::vector<ScaledAdapter>& adapters) {
  std::string problems;
  for (const ScaledAdapter& scaled : adapters) {
    for (const std::string& name : scaled.adapter.removed) {
      problems += "\n  " + name + ": the adapter removes it, which only `shira merge` can do.";
    }
    for (const std::string& name : scaled.adapter.added) {
      problems += "\n  " + name + ": the adapter adds it, which only `shira merge` can do.";
    }
  }
  return problems;
}

}  // namespace

void detail::warn_about_narrow_base(const std::string& name, torch::ScalarType base,
                                    const std::vector<ScaledAdapter>& adapters) {
  for (const Part& part : parts_of(name, adapters)) {
    if (part.sparse == nullptr) continue;
    const auto dtype = part.adapter->checksum_dtype(*part.sparse);
    if (holds_exactly(to_dtype(base), to_dtype(dtype))) continue;
    log_warning(detail::concat("the adapter was trained on a ", torch_dtype_name(dtype),
                               " base, this one is ", torch_dtype_name(base),
                               ": its base checksums cannot be compared."));
  }
}

void detail::check_fit(const std::string& problems) {
  SHIRA_CHECK(Error, problems.empty(), "the adapter does not fit this base model:", problems,
              "\nUse the base it was trained on (adapter_config.json names it). `force` (--force "
              "where a command has it) accepts other values, but no missing tensor and no other "
              "shape.");
}

std::int64_t WeightPatch::nnz() const {
  std::int64_t total = 0;
  for (const auto& [name, entry] : entries()) total += entry.patched.numel();
  return total;
}

bool is_same_base(const SparseAdapter& adapter, const SparseTensor& tensor,
                  const torch::Tensor& base) {
  const auto dtype = adapter.checksum_dtype(tensor);
  if (!tensor.base_checksum || !holds_exactly(to_dtype(base.scalar_type()), to_dtype(dtype)))
    return true;
  return base_checksum(base, dtype) == *tensor.base_checksum;
}

std::set<std::string> patched_names(const std::vector<ScaledAdapter>& adapters) {
  std::set<std::string> names;
  for (const ScaledAdapter& scaled : adapters) {
    for (const auto& [name, tensor] : scaled.adapter.tensors) names.insert(name);
    for (const auto& [name, tensor] : scaled.adapter.whole) names.insert(name);
    for (const auto& [name, tensor] : scaled.lora.tensors) names.insert(name);
  }
  return names;
}

PatchEntry resolve_entry(const std::string& name, const torch::Tensor& weight,
                         const std::vector<ScaledAdapter>& adapters, const BaseValues& base_values,
                         ResolveOptions options) {
  torch::NoGradGuard no_grad;
  std::vector<Part> parts = parts_of(name, adapters);
  for (const Part& part : parts) check_shape(name, weight, shape_of(part));
  std::erase_if(parts, [](const Part& part) { return part.lora != nullptr && part.scale == 0.0; });
  const auto is_dense = [](const Part& part) { return part.sparse == nullptr; };
  return std::any_of(parts.begin(), parts.end(), is_dense)
             ? dense_entry(name, weight, std::move(parts), base_values, options.force)
             : sparse_entry(name, weight, parts, base_values, options.force);
}

WeightPatch resolve_patch(const std::map<std::string, torch::Tensor>& parameters,
                          const std::vector<ScaledAdapter>& adapters, const BaseValues& base_values,
                          ResolveOptions options) {
  PatchEntries entries;
  std::string problems = problems_of_parameters(adapters);
  for (const std::string& name : patched_names(adapters)) {
    const auto found = parameters.find(name);
    if (found == parameters.end()) {
      problems += "\n  " + name + ": the model has no such parameter.";
      continue;
    }
    try {
      entries.emplace(name, resolve_entry(name, found->second, adapters, base_values, options));
    } catch (const Error& error) {
      problems += std::string("\n  ") + error.what();
    }
  }
  detail::check_fit(problems);
  if (!entries.empty()) {
    const std::string& name = entries.begin()->first;
    detail::warn_about_narrow_base(name, parameters.at(name).scalar_type(), adapters);
  }
  return WeightPatch(std::move(entries));
}

}  // namespace shira
