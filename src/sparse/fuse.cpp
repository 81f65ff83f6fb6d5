// Fusing is resolving, kept instead of applied.
#include "checkpoint_changes.h"
#include "patch_checks.h"

#include <shira/base/error.h>
#include <shira/kernels/finite.h>
#include <shira/sparse/fuse.h>
#include <shira/sparse/tensor_file.h>

#include <algorithm>
#include <iterator>

namespace shira {
namespace {

/// Positions of the named tensor that at least two adapters have.
std::int64_t overlaps_of(const std::string& name, const std::vector<ScaledAdapter>& adapters) {
  std::vector<std::int32_t> all, several;
  for (const ScaledAdapter& scaled : adapters) {
    const auto found = scaled.adapter.tensors.find(name);
    if (found == scaled.adapter.tensors.end()) continue;
    const torch::Tensor& indices = found->second.mask.indices();
    const auto* begin = indices.const_data_ptr<std::int32_t>();
    const auto* end = begin + indices.numel();
    std::vector<std::int32_t> more, repeated, joined;
    std::set_intersection(all.begin(), all.end(), begin, end, std::back_inserter(more));
    std::set_union(several.begin(), several.end(), more.begin(), more.end(),
                   std::back_inserter(repeated));
    std::set_union(all.begin(), all.end(), begin, end, std::back_inserter(joined));
    several = std::move(repeated);
    all = std::move(joined);
  }
  return std::ssize(several);
}

/// Only the difference of checkpoints may hold any bits, and what was made of one.
bool has_any_bits(const std::vector<ScaledAdapter>& adapters) {
  return std::any_of(adapters.begin(), adapters.end(),
                     [](const auto& scaled) { return scaled.adapter.mask_type == "diff"; });
}

void check_finite(const std::string& name, const torch::Tensor& values) {
  const auto place =
      first_not_finite(values.const_data_ptr(), to_dtype(values.scalar_type()), values.numel());
  SHIRA_CHECK(Error, place < 0, name, ": the fused values overflow ",
              torch_dtype_name(values.scalar_type()), ". Choose smaller scales.");
}

void add_entry(const std::string& name, const PatchEntry& entry, SparseAdapter& adapter) {
  if (adapter.mask_type != "diff") check_finite(name, entry.patched.cpu());
  if (entry.is_dense()) {
    adapter.whole.emplace(name, entry.patched);
    return;
  }
  const auto checksum = base_checksum(entry.original, entry.original.scalar_type());
  adapter.tensors.emplace(
      name, SparseTensor{SparseMask::of_checked(entry.shape, entry.indices.cpu().to(torch::kInt32)),
                         entry.patched.cpu(), checksum});
}

}  // namespace

FusedAdapter fuse_adapters(const std::map<std::string, torch::Tensor>& base,
                           const std::vector<ScaledAdapter>& adapters, ResolveOptions options) {
  const detail::CheckpointChanges changes =
      detail::changes_of(adapters, [&](const std::string& name) { return base.contains(name); });
  FusedAdapter fused;
  fused.adapter.mask_type = has_any_bits(adapters) ? "diff" : "fused";
  fused.adapter.whole = changes.replaced;
  fused.adapter.removed.assign(changes.removed.begin(), changes.removed.end());
  fused.adapter.added.assign(changes.added.begin(), changes.added.end());
  std::string problems = changes.problems;
  for (const std::string& name : changes.patched) {
    try {
      add_entry(name, detail::resolve_on(name, base.at(name), adapters, options), fused.adapter);
      fused.overlaps += overlaps_of(name, adapters);
    } catch (const Error& error) {
      problems += std::string("\n  ") + error.what();
    }
  }
  detail::check_fit(problems);
  if (!changes.patched.empty()) {
    const std::string& first = *changes.patched.begin();
    fused.adapter.base_dtype = base.at(first).scalar_type();
    detail::warn_about_narrow_base(first, fused.adapter.base_dtype, adapters);
  }
  return fused;
}

}  // namespace shira
