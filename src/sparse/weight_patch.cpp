// How several adapters become one list of values. The rules are design decisions, kept in one place
// (combine): copy, PEFT's rounding, or one float64 sum.
#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/kernels/rounding.h>
#include <shira/sparse/scatter_into.h>
#include <shira/sparse/tensor_file.h>
#include <shira/sparse/weight_patch.h>

#include <ATen/Functions.h>

#include <span>

namespace shira {
namespace {

struct Contribution {
  const SparseTensor* tensor;
  ValueKind kind;
  double scale;

  bool is_copy() const { return kind == ValueKind::kWeights && scale == 1.0; }
};

/// float64 -> dtype with a single rounding.
torch::Tensor round_once(const torch::Tensor& values, torch::ScalarType dtype) {
  if (dtype == torch::kFloat64 || dtype == torch::kFloat32) return values.to(dtype);
  torch::Tensor odd = at::empty(values.sizes(), torch::kFloat32);
  round_to_odd({values.const_data_ptr<double>(), static_cast<std::size_t>(values.numel())},
               odd.mutable_data_ptr<float>());
  return odd.to(dtype);
}

/// PEFT's merge of one adapter's deltas.
torch::Tensor add_deltas(const torch::Tensor& base, const Contribution& one) {
  const auto wide = base.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  return (base.to(wide) + one.tensor->values.to(wide) * one.scale).to(base.scalar_type());
}

/// The general case: `indices` are the sorted union of all positions, `base` the values there.
torch::Tensor weighted_sum(const torch::Tensor& indices, const torch::Tensor& base,
                           const std::vector<Contribution>& contributions) {
  const torch::Tensor base64 = base.to(torch::kFloat64);
  torch::Tensor sum = base64.clone();
  torch::Tensor covered = at::zeros({indices.numel()}, torch::kInt32);
  torch::Tensor copies = base.clone();
  torch::Tensor is_copy = at::zeros({indices.numel()}, torch::kBool);
  for (const Contribution& one : contributions) {
    const torch::Tensor at = at::searchsorted(indices, one.tensor->mask.indices());
    torch::Tensor delta = one.tensor->values.to(torch::kFloat64);
    if (one.kind == ValueKind::kWeights) delta = delta - base64.index_select(0, at);
    sum.index_add_(0, at, delta * one.scale);
    covered.index_add_(0, at, at::ones({at.numel()}, torch::kInt32));
    if (one.is_copy()) {
      copies.index_copy_(0, at, one.tensor->values.to(base.scalar_type()));
      is_copy.index_fill_(0, at, true);
    }
  }
  return at::where(is_copy.logical_and(covered == 1), copies, round_once(sum, base.scalar_type()));
}

torch::Tensor union_of_indices(const std::vector<Contribution>& contributions) {
  if (contributions.size() == 1) return contributions.front().tensor->mask.indices();
  std::vector<torch::Tensor> all;
  for (const Contribution& one : contributions) all.push_back(one.tensor->mask.indices());
  return std::get<0>(at::unique_consecutive(std::get<0>(at::cat(all).sort())));
}

torch::Tensor combine(const torch::Tensor& indices, const torch::Tensor& base,
                      const std::vector<Contribution>& contributions) {
  const Contribution& first = contributions.front();
  if (contributions.size() > 1 || (first.kind == ValueKind::kWeights && !first.is_copy())) {
    return weighted_sum(indices, base, contributions);
  }
  return first.is_copy() ? first.tensor->values.to(base.scalar_type()).contiguous()
                         : add_deltas(base, first);
}

/// Whether a cast from `wide` to `narrow` keeps what a narrow value was: equal, or a superset.
bool holds_exactly(torch::ScalarType wide, torch::ScalarType narrow) {
  return wide == narrow || at::promote_types(wide, narrow) == wide;
}

/// The base's values under the mask, checked against the adapter's checksum.
bool is_same_base(const SparseAdapter& adapter, const SparseTensor& tensor,
                  const torch::Tensor& base) {
  if (!tensor.base_checksum || !holds_exactly(base.scalar_type(), adapter.base_dtype)) return true;
  return base_checksum(base, adapter.base_dtype) == *tensor.base_checksum;
}

void warn_about_narrow_base(const SparseAdapter& adapter, torch::ScalarType base) {
  if (holds_exactly(base, adapter.base_dtype)) return;
  log_warning(detail::concat("the adapter was trained on a ", torch_dtype_name(adapter.base_dtype),
                             " base, this one is ", torch_dtype_name(base),
                             ": its base checksums cannot be compared."));
}

/// Why `tensor` cannot go on the parameter `name`; empty when it can.
std::string problem_of(const std::map<std::string, torch::Tensor>& parameters,
                       const std::string& name, const SparseAdapter& adapter,
                       const SparseTensor& tensor, const BaseValues& base_values, bool force) {
  const auto found = parameters.find(name);
  if (found == parameters.end()) return name + ": the model has no such parameter.";
  try {
    check_scatter(name, found->second, tensor.mask);
  } catch (const ShapeError& error) {
    return error.what();
  }
  if (force || is_same_base(adapter, tensor, base_values(name, tensor.mask.indices()))) return "";
  return name + ": the base's values under the mask differ from those the adapter was trained on.";
}

void check_fit(const std::map<std::string, torch::Tensor>& parameters,
               const std::vector<ScaledAdapter>& adapters, const BaseValues& base_values,
               bool force) {
  std::string problems;
  for (const ScaledAdapter& scaled : adapters) {
    for (const auto& [name, tensor] : scaled.adapter.tensors) {
      const std::string problem =
          problem_of(parameters, name, scaled.adapter, tensor, base_values, force);
      if (!problem.empty()) problems += "\n  " + problem;
    }
  }
  SHIRA_CHECK(Error, problems.empty(), "the adapter does not fit this base model:", problems,
              "\nUse the base it was trained on (adapter_config.json names it); --force of "
              "generate, eval and merge accepts "
              "other values, but no missing tensor and no other shape.");
}

using Contributions = std::map<std::string, std::vector<Contribution>>;

Contributions contributions_of(const std::vector<ScaledAdapter>& adapters) {
  Contributions grouped;
  for (const ScaledAdapter& scaled : adapters) {
    if (scaled.scale == 0.0) continue;
    for (const auto& [name, tensor] : scaled.adapter.tensors) {
      grouped[name].push_back({&tensor, scaled.adapter.kind, scaled.scale});
    }
  }
  return grouped;
}

}  // namespace

std::int64_t WeightPatch::nnz() const {
  std::int64_t total = 0;
  for (const auto& [name, entry] : entries) total += entry.indices.numel();
  return total;
}

WeightPatch resolve_patch(const std::map<std::string, torch::Tensor>& parameters,
                          const std::vector<ScaledAdapter>& adapters, const BaseValues& base_values,
                          ResolveOptions options) {
  torch::NoGradGuard no_grad;
  check_fit(parameters, adapters, base_values, options.force);
  for (const ScaledAdapter& scaled : adapters) {
    if (scaled.adapter.tensors.empty()) continue;
    const std::string& name = scaled.adapter.tensors.begin()->first;
    warn_about_narrow_base(scaled.adapter, parameters.at(name).scalar_type());
  }
  WeightPatch patch;
  for (const auto& [name, contributions] : contributions_of(adapters)) {
    const torch::Tensor indices = union_of_indices(contributions);
    const torch::Tensor original = base_values(name, indices);
    patch.entries.emplace(name,
                          PatchEntry{indices, combine(indices, original, contributions), original});
  }
  return patch;
}

}  // namespace shira
