// The central noun: positions and values for some parameters of a base model.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/sparse_mask.h>

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shira {

/// What an adapter's values are.
enum class ValueKind {
  kWeights,  // the new weights themselves: exact
  kDeltas,   // to be added to the base, as PEFT stores them
};

/// A mask and one value per index.
struct SparseTensor {
  SparseMask mask;
  torch::Tensor values;  // (nnz)
  /// XXH3-64 of the base's values under the mask, in SparseAdapter::checksum_dtype.
  std::optional<std::uint64_t> base_checksum;
};

struct SparseAdapter {
  ValueKind kind = ValueKind::kWeights;
  std::map<std::string, SparseTensor> tensors;  // by parameter name
  /// Parameters that are replaced or added whole, and those that the result does not have: what a
  /// difference of checkpoints may need.
  std::map<std::string, torch::Tensor> whole;
  std::vector<std::string> removed;
  std::vector<std::string> added;  // names of `whole` that the base does not have
  /// The dtype the weights had in memory while training.
  torch::ScalarType base_dtype = torch::kFloat32;
  std::string base_model;  // path or name of the base, for people
  std::string mask_type;   // rand, wm, ...

  /// Entries over all sparse tensors.
  SHIRA_API std::int64_t nnz() const;
  /// Of the sparse tensors, by parameter name.
  SHIRA_API MaskMap masks() const;
  /// The dtype in which a tensor's base_checksum was taken: that of new weights, or base_dtype
  /// under deltas, which have a dtype of their own.
  SHIRA_API torch::ScalarType checksum_dtype(const SparseTensor& tensor) const;
};

/// The checksum of `values` for SparseTensor::base_checksum: of their bytes in `dtype`.
SHIRA_API std::uint64_t base_checksum(const torch::Tensor& values, torch::ScalarType dtype);

/// Writes adapter_config.json and adapter_model.safetensors (docs/adapter_format.md) into
/// `directory`, made if absent; each file is replaced atomically.
SHIRA_API void save_adapter(const std::filesystem::path& directory, const SparseAdapter& adapter);

/// Reads what save_adapter wrote. IoError on a damaged file, another format, or a value that is NaN
/// or infinite (a difference of checkpoints, mask_type "diff", may hold what they hold).
SHIRA_API SparseAdapter load_adapter(const std::filesystem::path& directory);

}  // namespace shira
