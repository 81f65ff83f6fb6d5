// Masks and changes are merged by their sorted positions; sums run in float64.
#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/sparse/adapter_comparison.h>
#include <shira/sparse/tensor_file.h>
#include <shira/sparse/weight_patch.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <span>

namespace shira {
namespace {

std::span<const std::int32_t> positions(const SparseMask& mask) {
  return {mask.indices().const_data_ptr<std::int32_t>(), static_cast<std::size_t>(mask.nnz())};
}

void check_comparable(const SparseMask& first, const SparseMask& second) {
  SHIRA_CHECK(ShapeError, first.shape() == second.shape(),
              "[adapter comparison] tensors of different shapes: ", at::IntArrayRef(first.shape()),
              " and ", at::IntArrayRef(second.shape()), ".");
}

/// Calls visit(first's place or -1, second's place or -1) for each position of either, in order.
template <typename Visit>
void for_each_position(const SparseMask& first, const SparseMask& second, Visit visit) {
  const auto one = positions(first);
  const auto other = positions(second);
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < one.size() || j < other.size()) {
    const bool left = j == other.size() || (i < one.size() && one[i] <= other[j]);
    const bool right = i == one.size() || (j < other.size() && other[j] <= one[i]);
    visit(left ? static_cast<std::int64_t>(i) : -1, right ? static_cast<std::int64_t>(j) : -1);
    i += left ? 1 : 0;
    j += right ? 1 : 0;
  }
}

// ---- deltas

/// The base's own values under a mask.
torch::Tensor base_entries(const torch::Tensor& base, const SparseMask& mask) {
  return base.detach().reshape({-1}).index_select(0, mask.indices());
}

/// Null without a base, or where it has no such parameter.
const torch::Tensor* find_parameter(const BaseTensors* base, const std::string& name) {
  if (!base) return nullptr;
  const auto found = base->find(name);
  return found == base->end() ? nullptr : &found->second;
}

/// Why `tensor` has no deltas against the base's parameter; empty when it has.
std::string misfit_of(const SparseAdapter& adapter, const SparseTensor& tensor,
                      const torch::Tensor* base, bool force) {
  if (!base) return "the base has no such parameter";
  if (base->sizes() != at::IntArrayRef(tensor.mask.shape())) {
    return detail::concat("the base has shape ", base->sizes(), ", the adapter ",
                          at::IntArrayRef(tensor.mask.shape()));
  }
  if (force || is_same_base(adapter, tensor, base_entries(*base, tensor.mask))) return "";
  return "the base's values under the mask differ from those the adapter was trained on";
}

void warn_about_unchecked_base(const SparseAdapter& adapter, const BaseTensors& base) {
  if (adapter.tensors.empty()) return;
  const auto& [name, tensor] = *adapter.tensors.begin();
  const torch::ScalarType trained = adapter.checksum_dtype(tensor);
  const torch::ScalarType dtype = base.at(name).scalar_type();
  if (at::promote_types(dtype, trained) == dtype) return;
  log_warning(detail::concat("the adapter was trained on a ", torch_dtype_name(trained),
                             " base, this one is ", torch_dtype_name(dtype),
                             ": its base checksums cannot be compared."));
}

/// The adapter's values minus the base's, when there is one to subtract.
torch::Tensor delta_values(const SparseAdapter& adapter, const SparseTensor& tensor,
                           const torch::Tensor* base) {
  const torch::Tensor values = tensor.values.detach().cpu().to(torch::kFloat64);
  if (adapter.kind == ValueKind::kDeltas) return values;
  const torch::Tensor before = base_entries(*base, tensor.mask).to(adapter.checksum_dtype(tensor));
  return values - before.to(torch::kFloat64);
}

// ---- totals

void add(MaskOverlap& total, const MaskOverlap& part) {
  total.first += part.first;
  total.second += part.second;
  total.shared += part.shared;
}

void add(ChangeDistances& total, const ChangeDistances& part) {
  total.first = std::hypot(total.first, part.first);
  total.second = std::hypot(total.second, part.second);
  total.between = std::hypot(total.between, part.between);
  total.first_before = std::hypot(total.first_before, part.first_before);
  total.second_before = std::hypot(total.second_before, part.second_before);
}

void add(Orthogonality& total, const Orthogonality& part) {
  if (part.spectral.value > total.spectral.value) total.spectral = part.spectral;
  total.frobenius = std::hypot(total.frobenius, part.frobenius);
  total.nonzeros += part.nonzeros;
  total.entries += part.entries;
}

double norm_before(const torch::Tensor* base, const SparseMask& mask) {
  return base ? base_entries(*base, mask).to(torch::kFloat64).norm().item<double>() : 0.0;
}

/// A tensor of one adapter alone, where the other changes nothing.
ChangeDistances distances_alone(const SparseTensor& tensor, const torch::Tensor* base,
                                bool is_first) {
  const double norm = tensor.values.norm().item<double>();
  const double before = norm_before(base, tensor.mask);
  if (is_first) return {norm, 0.0, norm, before, 0.0};
  return {0.0, norm, norm, 0.0, before};
}

TensorComparison compare_tensor(const std::string& name, const SparseTensor& first,
                                const SparseTensor& second, const torch::Tensor* base,
                                bool changes) {
  try {
    TensorComparison result{name, first.mask.shape(), mask_overlap(first.mask, second.mask),
                            std::nullopt};
    if (changes) {
      result.changes.emplace(
          ChangeComparison{orthogonality(first, second), change_distances(first, second, base)});
    }
    return result;
  } catch (const ShapeError& error) {
    throw ShapeError(name + ": " + error.what());
  }
}

/// The names in `of` that `other` lacks; their distances go into `total`.
std::vector<std::string> names_alone(const SparseAdapter& of, const SparseAdapter& other,
                                     const BaseTensors* base, bool is_first,
                                     TensorComparison& total) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : of.tensors) {
    if (other.tensors.contains(name)) continue;
    names.push_back(name);
    if (total.changes) {
      add(total.changes->distances, distances_alone(tensor, find_parameter(base, name), is_first));
    }
  }
  return names;
}

}  // namespace

double MaskOverlap::jaccard() const {
  const std::int64_t either = first + second - shared;
  return either == 0 ? 0.0 : static_cast<double>(shared) / static_cast<double>(either);
}

MaskOverlap mask_overlap(const SparseMask& first, const SparseMask& second) {
  check_comparable(first, second);
  MaskOverlap overlap{first.nnz(), second.nnz(), 0};
  for_each_position(first, second, [&](std::int64_t i, std::int64_t j) {
    overlap.shared += i >= 0 && j >= 0 ? 1 : 0;
  });
  return overlap;
}

ChangeDistances change_distances(const SparseTensor& first, const SparseTensor& second,
                                 const torch::Tensor* base) {
  check_comparable(first.mask, second.mask);
  const torch::Tensor one = first.values.detach().cpu().to(torch::kFloat64).contiguous();
  const torch::Tensor other = second.values.detach().cpu().to(torch::kFloat64).contiguous();
  const auto* a = one.const_data_ptr<double>();
  const auto* b = other.const_data_ptr<double>();
  double squares = 0.0;
  for_each_position(first.mask, second.mask, [&](std::int64_t i, std::int64_t j) {
    const double difference = (i >= 0 ? a[i] : 0.0) - (j >= 0 ? b[j] : 0.0);
    squares += difference * difference;
  });
  return {one.norm().item<double>(), other.norm().item<double>(), std::sqrt(squares),
          norm_before(base, first.mask), norm_before(base, second.mask)};
}

SparseAdapter adapter_deltas(const SparseAdapter& adapter, const BaseTensors* base, bool force) {
  torch::NoGradGuard no_grad;
  SHIRA_CHECK(ConfigError, base || adapter.kind == ValueKind::kDeltas,
              "the adapter holds new weights; what it changes exists only against its base: give "
              "--base_model.");
  SparseAdapter deltas;
  deltas.kind = ValueKind::kDeltas;
  deltas.base_dtype = adapter.base_dtype;
  deltas.base_model = adapter.base_model;
  deltas.mask_type = adapter.mask_type;
  std::string problems;
  for (const auto& [name, tensor] : adapter.tensors) {
    const torch::Tensor* weight = find_parameter(base, name);
    const std::string misfit = base ? misfit_of(adapter, tensor, weight, force) : "";
    if (misfit.empty()) {
      deltas.tensors.emplace(
          name, SparseTensor{tensor.mask, delta_values(adapter, tensor, weight), std::nullopt});
    } else {
      problems += "\n  " + name + ": " + misfit + ".";
    }
  }
  SHIRA_CHECK(Error, problems.empty(), "the adapter does not fit this base:", problems,
              "\nUse the base it was trained on (adapter_config.json names it); --force accepts "
              "other values, but no missing tensor and no other shape.");
  if (base) warn_about_unchecked_base(adapter, *base);
  return deltas;
}

AdapterComparison compare_adapters(const SparseAdapter& first, const SparseAdapter& second,
                                   const BaseTensors* base) {
  torch::NoGradGuard no_grad;
  const bool changes = first.kind == ValueKind::kDeltas && second.kind == ValueKind::kDeltas;
  AdapterComparison result;
  if (changes) result.total.changes.emplace();
  for (const auto& [name, tensor] : first.tensors) {
    const auto found = second.tensors.find(name);
    if (found == second.tensors.end()) continue;
    result.tensors.push_back(
        compare_tensor(name, tensor, found->second, find_parameter(base, name), changes));
    const TensorComparison& part = result.tensors.back();
    add(result.total.overlap, part.overlap);
    if (!part.changes) continue;
    add(result.total.changes->orthogonality, part.changes->orthogonality);
    add(result.total.changes->distances, part.changes->distances);
  }
  SHIRA_CHECK(Error, !result.tensors.empty(),
              "no tensor is sparse in both adapters: are they of the same model? Tensors that an "
              "adapter holds whole are not compared.");
  result.only_first = names_alone(first, second, base, true, result.total);
  result.only_second = names_alone(second, first, base, false, result.total);
  return result;
}

}  // namespace shira
