// A switch is two overwrites, the old patch's originals and the new patch's values, in one pass
// over the weights that both write.
#include <shira/base/error.h>
#include <shira/sparse/adapter_switcher.h>
#include <shira/sparse/scatter_into.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <mutex>

namespace shira {
namespace {

void write(const torch::Tensor& weight, const PatchEntry& entry, const torch::Tensor& values) {
  entry.is_dense() ? copy_into(weight, values) : scatter_into(weight, entry.indices, values);
}

/// From one patch's share of a weight to another's.
void exchange(const torch::Tensor& weight, const PatchEntry& from, const PatchEntry& to) {
  if (to.is_dense()) return copy_into(weight, to.patched);
  if (from.is_dense()) {
    copy_into(weight, from.original);
    return scatter_into(weight, to.indices, to.patched);
  }
  scatter_both_into(weight, from.indices, from.original, to.indices, to.patched);
}

/// Whether swapping the adapter's values in is all there is to do.
bool is_one_copy(const std::vector<ScaledAdapter>& adapters) {
  return adapters.size() == 1 && adapters[0].scale == 1.0 && adapters[0].lora.tensors.empty() &&
         adapters[0].adapter.kind == ValueKind::kWeights && adapters[0].adapter.whole.empty() &&
         adapters[0].adapter.removed.empty();
}

}  // namespace

AdapterSwitcher::AdapterSwitcher(const torch::nn::Module& model) {
  std::map<const void*, std::string> first_names;
  for (const auto& parameter : model.named_parameters()) {
    const torch::Tensor& weight = parameter.value();
    parameters_.emplace(parameter.key(), weight);
    if (weight.numel() == 0) continue;
    const auto [first, is_new] = first_names.emplace(weight.const_data_ptr(), parameter.key());
    if (!is_new) tied_.emplace(parameter.key(), first->second);
  }
}

/// The name under which patches of this switcher have a weight.
const std::string& AdapterSwitcher::one_name(const std::string& name) const {
  const auto found = tied_.find(name);
  return found == tied_.end() ? name : found->second;
}

/// Two names of one weight that the adapters change both, where there are such.
std::optional<std::pair<std::string, std::string>> AdapterSwitcher::tied_names(
    const std::vector<ScaledAdapter>& adapters) const {
  if (tied_.empty()) return std::nullopt;
  std::map<std::string, std::string> names;
  for (const std::string& name : patched_names(adapters)) {
    const auto [other, is_new] = names.emplace(one_name(name), name);
    if (!is_new) return std::pair(other->second, name);
  }
  return std::nullopt;
}

AdapterSwitcher::~AdapterSwitcher() { revert_locked(); }

torch::Tensor AdapterSwitcher::base_values(const std::string& name,
                                           const torch::Tensor& indices) const {
  const torch::Tensor& weight = parameters_.at(name);
  const PatchEntry* entry = nullptr;
  if (applied_) {
    const auto found = applied_->entries().find(one_name(name));
    if (found != applied_->entries().end()) entry = &found->second;
  }
  if (!indices.defined()) {
    torch::Tensor values = weight.detach().clone();
    if (entry != nullptr) write(values, *entry, entry->original);
    return values;
  }
  if (entry != nullptr && entry->is_dense()) return gather_from(entry->original, indices);
  torch::Tensor values = gather_from(weight, indices);
  if (entry == nullptr || entry->indices.numel() == 0) return values;
  const torch::Tensor at =
      at::searchsorted(entry->indices, indices).clamp_max(entry->indices.numel() - 1);
  const torch::Tensor is_patched = entry->indices.index_select(0, at) == indices;
  return at::where(is_patched, entry->original.index_select(0, at), values);
}

WeightPatch AdapterSwitcher::resolve(const std::vector<ScaledAdapter>& adapters,
                                     ResolveOptions options) const {
  const Lease lease(lock_);
  const auto base = [this](const std::string& name, const torch::Tensor& indices) {
    return base_values(name, indices);
  };
  const WeightPatch patch = resolve_patch(parameters_, adapters, base, options);
  if (tied_.empty()) return patch;
  if (const auto names = tied_names(adapters)) {
    throw Error(names->second + ": this model ties it to " + names->first +
                ", one weight, and the adapters change both. `shira merge` makes a checkpoint of "
                "them.");
  }
  PatchEntries entries;
  for (const auto& [name, entry] : patch.entries()) entries.emplace(one_name(name), entry);
  return WeightPatch(std::move(entries));
}

/// A patch was checked when it was resolved; this catches one that belongs to another model, and
/// weights that cannot be written.
void AdapterSwitcher::check(const WeightPatch& patch) const {
  for (const auto& [name, entry] : patch.entries()) {
    const auto found = parameters_.find(name);
    const bool fits = found != parameters_.end() &&
                      found->second.scalar_type() == entry.patched.scalar_type() &&
                      found->second.device() == entry.patched.device() &&
                      found->second.sizes() == at::IntArrayRef(entry.shape);
    SHIRA_CHECK(Error, fits, "[AdapterSwitcher] the patch does not fit parameter ", name,
                ". A patch belongs to the model it was resolved for.");
    check_writable(name, found->second);
  }
}

void AdapterSwitcher::apply(const WeightPatch& patch) {
  const std::lock_guard switching(lock_);
  SHIRA_CHECK(Error, !applied_,
              "[AdapterSwitcher::apply] a patch is already applied. Call revert() "
              "first, or switch_to().");
  check(patch);
  switch_locked(patch);
}

void AdapterSwitcher::switch_to(const WeightPatch& patch) {
  const std::lock_guard switching(lock_);
  check(patch);
  switch_locked(patch);
}

void AdapterSwitcher::switch_locked(const WeightPatch& patch) {
  const PatchEntries none;
  const PatchEntries& from = applied_ ? applied_->entries() : none;
  for (const auto& [name, entry] : from) {
    if (!patch.entries().contains(name)) write(parameters_.at(name), entry, entry.original);
  }
  for (const auto& [name, entry] : patch.entries()) {
    const torch::Tensor& weight = parameters_.at(name);
    const auto old = from.find(name);
    old == from.end() ? write(weight, entry, entry.patched) : exchange(weight, old->second, entry);
  }
  applied_ = patch;
}

WeightPatch AdapterSwitcher::switch_to(const std::vector<ScaledAdapter>& adapters,
                                       ResolveOptions options) {
  if (is_one_copy(adapters) && !tied_names(adapters)) {
    if (const auto patch = swap_in(adapters[0].adapter, options)) return *patch;
  }
  const WeightPatch patch = resolve(adapters, options);  // or the error that says all that is wrong
  switch_to(patch);
  return patch;
}

/// Whether each tensor of the adapter has a parameter of its shape and dtype that can be written.
bool AdapterSwitcher::fits_as_is(const SparseAdapter& adapter) const {
  return std::all_of(adapter.tensors.begin(), adapter.tensors.end(), [this](const auto& item) {
    const auto& [name, tensor] = item;
    const auto found = parameters_.find(name);
    if (found == parameters_.end()) return false;
    check_writable(name, found->second);
    return found->second.sizes() == at::IntArrayRef(tensor.mask.shape()) &&
           found->second.scalar_type() == tensor.values.scalar_type();
  });
}

/// Reads the base's values in the pass that overwrites them, and checks them then. Nothing has
/// changed when the adapter is found not to fit, which is when nothing is returned.
std::optional<WeightPatch> AdapterSwitcher::swap_in(const SparseAdapter& adapter,
                                                    ResolveOptions options) {
  const std::lock_guard switching(lock_);
  if (!fits_as_is(adapter)) return std::nullopt;
  const std::optional<WeightPatch> previous = applied_;
  revert_locked();
  PatchEntries entries;
  const auto take_back = [&] {
    for (const auto& [name, entry] : entries) {
      if (entry.original.defined()) write(parameters_.at(name), entry, entry.original);
    }
    if (previous) switch_locked(*previous);
  };
  try {
    for (const auto& [name, tensor] : adapter.tensors) {
      const torch::Tensor& weight = parameters_.at(name);
      PatchEntry& entry = entries[one_name(name)];
      entry.shape = tensor.mask.shape();
      entry.indices = indices_for(weight, tensor.mask.indices());
      entry.patched = tensor.values.to(weight.device());
      entry.original = swap_into(weight, entry.indices, entry.patched);
      if (options.force || is_same_base(adapter, tensor, entry.original)) continue;
      take_back();
      return std::nullopt;
    }
  } catch (...) {  // out of memory
    take_back();
    throw;
  }
  applied_ = WeightPatch(std::move(entries));
  return applied_;
}

void AdapterSwitcher::revert() {
  const std::lock_guard switching(lock_);
  revert_locked();
}

void AdapterSwitcher::revert_locked() {
  if (!applied_) return;
  for (const auto& [name, entry] : applied_->entries()) {
    write(parameters_.at(name), entry, entry.original);
  }
  applied_.reset();
}

bool AdapterSwitcher::is_applied() const {
  const Lease lease(lock_);
  return applied_.has_value();
}

}  // namespace shira
