// The `shira` adapter layout (docs/adapter_format.md), without LibTorch: a safetensors file with
// three tensors a sparse target, `<parameter>.values`, `.gaps` and `.restarts`, one a target that
// is held whole, and a JSON record of each target in the file's metadata.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/export.h>
#include <shira/io/index_codec.h>
#include <shira/io/safetensors.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace shira {

/// What both directions share.
struct AdapterFileHeader {
  std::string value_kind;  // weights | deltas
  DType base_dtype = DType::kF32;
  std::string base_model;
  std::string mask_type;

  /// The difference of two checkpoints holds what they hold; anything else holds numbers.
  bool may_hold_any_bits() const { return mask_type == "diff"; }
};

/// A sparse target to be written; its memory is borrowed until the write returns.
struct SparseTargetBytes {
  std::string name;  // of the parameter
  std::vector<std::int64_t> shape;
  std::span<const std::int32_t> indices;  // sorted, unique
  DType dtype = DType::kF32;              // of the values
  const void* values = nullptr;           // indices.size() items
  std::optional<std::uint64_t> base_checksum;
};

struct AdapterFileBytes {
  AdapterFileHeader header;
  std::vector<SparseTargetBytes> sparse;
  std::vector<TensorBytes> whole;    // parameters that are replaced or added whole
  std::vector<std::string> removed;  // parameters that the base has and the result has not
  std::vector<std::string> added;    // those of `whole` that the base has not
};

/// Writes adapter_model.safetensors, then adapter_config.json, each atomically.
SHIRA_API void write_adapter_file(const std::filesystem::path& directory,
                                  const AdapterFileBytes& file);

/// A sparse target in a mapped file. Its positions are still coded: they are checked as they are
/// decoded.
struct SparseTargetView {
  std::string name;
  std::vector<std::int64_t> shape;  // of 1 to 2^31 - 1 entries
  IndexDecoder positions;
  TensorView values;  // (nnz)
  std::optional<std::uint64_t> base_checksum;
};

struct WholeTargetView {
  std::string name;
  TensorView tensor;
};

struct AdapterFileView {
  AdapterFileHeader header;
  std::vector<SparseTargetView> sparse;
  std::vector<WholeTargetView> whole;
  std::vector<std::string> removed;
  std::vector<std::string> added;  // names of `whole`
};

/// A block of a target's entries (index_codec.h), and where all of the target's entries go.
struct SparseBlock {
  const SparseTargetView* target;
  std::int64_t block;
  std::span<std::int32_t> indices;  // (nnz)
  std::byte* values;                // (nnz) items
};

/// Copies the block's positions and values to their places, checks the positions, and returns the
/// values. Blocks may be read on several threads. IoError names the tensor.
SHIRA_API std::span<const std::byte> read_block(const SparseBlock& from);

/// Maps and checks both files; IoError names the file and the tensor.
SHIRA_API AdapterFileView read_adapter_file(const std::filesystem::path& directory);

}  // namespace shira
