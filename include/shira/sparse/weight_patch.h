// Adapters resolved against one base: what will be written where, and what was there before.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/lora_adapter.h>
#include <shira/sparse/sparse_adapter.h>

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace shira {

/// An adapter, sparse or LoRA, and how strongly it acts: W + scale * (adapted - W).
struct ScaledAdapter {
  ScaledAdapter(SparseAdapter sparse, double s = 1.0) : adapter(std::move(sparse)), scale(s) {}
  ScaledAdapter(LoraAdapter factors, double s = 1.0) : lora(std::move(factors)), scale(s) {}

  SparseAdapter adapter;  // empty where the adapter is LoRA
  LoraAdapter lora;       // empty where it is sparse
  double scale;
};

/// One tensor's share of a patch: the positions, the values to write and the base's own values
/// there, both in the weight's dtype and on its device. Without positions the entry is dense, as
/// that of a LoRA adapter is: it holds the whole weight twice.
struct PatchEntry {
  std::vector<std::int64_t> shape;  // of the weight
  torch::Tensor indices;            // (nnz), sorted, as indices_for has them; undefined: dense
  torch::Tensor patched;            // (nnz), or the weight's shape
  torch::Tensor original;           // likewise

  bool is_dense() const { return !indices.defined(); }
};

using PatchEntries = std::map<std::string, PatchEntry>;  // by parameter name

/// Applying or reverting a patch is a pure overwrite. Copies share the entries.
class WeightPatch {
 public:
  WeightPatch() : WeightPatch(PatchEntries{}) {}
  explicit WeightPatch(PatchEntries entries)
      : entries_(std::make_shared<const PatchEntries>(std::move(entries))) {}

  const PatchEntries& entries() const { return *entries_; }
  /// Weights that the patch writes.
  SHIRA_API std::int64_t nnz() const;

 private:
  std::shared_ptr<const PatchEntries> entries_;
};

struct ResolveOptions {
  bool force = false;  // accept an adapter made for another base
};

/// Reads the base's own values of the named parameter: those at sorted positions (nnz), or the
/// whole tensor where the positions are undefined.
using BaseValues = std::function<torch::Tensor(const std::string&, const torch::Tensor& indices)>;

/// The parameters that adapters act on. Those at scale 0 are checked like the others and change
/// nothing.
SHIRA_API std::set<std::string> patched_names(const std::vector<ScaledAdapter>& adapters);

/// What the adapters together make of one parameter, to which at least one of them belongs. Exact:
/// a position that one kWeights adapter at scale 1 covers is copied, one that a kDeltas adapter
/// covers alone is round(fp32(W) + scale * v) as PEFT has it, a LoRA adapter alone gives
/// merged_weight; every other sum is formed in float64 and rounded once, of weight_change for LoRA.
/// `weight` gives shape, dtype and device; its values come from `base_values`.
/// Error when an adapter has another shape or (unless forced) was made for other values.
SHIRA_API PatchEntry resolve_entry(const std::string& name, const torch::Tensor& weight,
                                   const std::vector<ScaledAdapter>& adapters,
                                   const BaseValues& base_values, ResolveOptions options = {});

/// resolve_entry of every parameter that the adapters act on. One Error lists all tensors that are
/// missing or do not fit, or that an adapter adds or removes, which a model in memory cannot do.
SHIRA_API WeightPatch resolve_patch(const std::map<std::string, torch::Tensor>& parameters,
                                    const std::vector<ScaledAdapter>& adapters,
                                    const BaseValues& base_values, ResolveOptions options = {});

/// Whether `base`, a parameter's own values under an adapter's mask, are those that the adapter was
/// made for. True where that cannot be told: no checksum, or a base of a narrower dtype.
SHIRA_API bool is_same_base(const SparseAdapter& adapter, const SparseTensor& tensor,
                            const torch::Tensor& base);

}  // namespace shira
