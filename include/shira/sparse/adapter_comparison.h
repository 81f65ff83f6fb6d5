// Two adapters of one base side by side: which entries they share, how far they are from the base
// and from each other (SHiRA, table 13), how much they interfere (section 4.2).
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/orthogonality.h>
#include <shira/sparse/sparse_adapter.h>

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shira {

/// A base's parameters by name, as map_checkpoint has them.
using BaseTensors = std::map<std::string, torch::Tensor>;

/// Entries that two masks hold, and that both hold.
struct MaskOverlap {
  std::int64_t first = 0;
  std::int64_t second = 0;
  std::int64_t shared = 0;

  /// shared / (first + second - shared); 0 for two empty masks.
  SHIRA_API double jaccard() const;
};

/// ShapeError for masks of different shapes.
SHIRA_API MaskOverlap mask_overlap(const SparseMask& first, const SparseMask& second);

/// L2 norms of two changes and of their difference: the distances of three sets of weights.
struct ChangeDistances {
  double first = 0.0;    // base to first: ||A1||
  double second = 0.0;   // base to second: ||A2||
  double between = 0.0;  // first to second: ||A1 - A2||
  /// ||W|| of the base over the entries of each, which makes a change relative; 0 without a base.
  double first_before = 0.0;
  double second_before = 0.0;
};

/// Of changes with the same shape, in float64; ShapeError otherwise.
SHIRA_API ChangeDistances change_distances(const SparseTensor& first, const SparseTensor& second,
                                           const torch::Tensor* base = nullptr);

/// The adapter as what it adds to `base` (null: none is at hand): kDeltas with float64 values.
/// Those of a kWeights adapter are its values minus the base's own in the adapter's dtype;
/// nothing but the entries under the masks is read. ConfigError for kWeights without a base; Error
/// that lists all tensors that the base lacks or has in another shape, or whose values there are
/// not those that the adapter was trained on (unless `force`).
SHIRA_API SparseAdapter adapter_deltas(const SparseAdapter& adapter, const BaseTensors* base,
                                       bool force = false);

struct ChangeComparison {
  Orthogonality orthogonality;
  ChangeDistances distances;
};

struct TensorComparison {
  std::string name;
  std::vector<std::int64_t> shape;
  MaskOverlap overlap;
  std::optional<ChangeComparison> changes;  // where both adapters are deltas
};

struct AdapterComparison {
  std::vector<TensorComparison> tensors;  // that both have
  std::vector<std::string> only_first;
  std::vector<std::string> only_second;
  /// All tensors as one block-diagonal matrix: entries add up, the spectral norm is the largest,
  /// the others are roots of sums of squares. Tensors of one adapter alone count in the distances
  /// only.
  TensorComparison total;
};

/// What of two adapters' sparse tensors can be compared: the masks, and the changes where both are
/// kDeltas (see adapter_deltas; `base` as there). Error when they share no tensor, ShapeError when
/// one has another shape or values that are not finite.
SHIRA_API AdapterComparison compare_adapters(const SparseAdapter& first,
                                             const SparseAdapter& second,
                                             const BaseTensors* base = nullptr);

}  // namespace shira
