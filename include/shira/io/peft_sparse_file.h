// PEFT's adapter directories of sparse differences to a base, without LibTorch. SHiRA has two
// tensors a linear layer, `base_model.model.<module>.shira_weight` (n) and `.shira_indices` (2, n),
// row 0 the output row; Super-Tuning has `.supertuning_values` (n) and `.supertuning_indices` (n),
// flat. Neither holds the weight's shape: it comes from the base.
#pragma once

#include <shira/base/export.h>
#include <shira/io/parameter_shapes.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace shira {

struct PeftSparseTensor {
  std::string name;                   // of the parameter: "<module>.weight"
  std::vector<std::int64_t> shape;    // (out, in)
  std::vector<std::int32_t> indices;  // row-major flat, sorted, unique
  std::vector<float> deltas;          // one an index, to be added
};

struct PeftSparseFile {
  std::string base_model;
  std::string mask_type;  // "random", ...; "supertuning" for Super-Tuning
  std::vector<PeftSparseTensor> tensors;
};

/// Reads SHiRA or Super-Tuning. Values may be F32, BF16 or F16, indices I32, I64 or (from Windows)
/// F32, in any order; values of one position are added. IoError names the file and the tensor: a
/// position outside the shape, a value that is not finite, a target without tensors, a tensor for
/// no parameter, what this reader does not support.
SHIRA_API PeftSparseFile read_peft_sparse_file(const std::filesystem::path& directory,
                                               const ParameterShapes& shapes);

/// The smallest r with which PEFT's SHiRA, which has r * (in + out) entries in every layer, holds
/// `nnz` entries of each shape. ShapeError where there is none, listing every tensor that PEFT
/// cannot hold and why: it is no linear layer's weight, or has too few entries for the others' r.
struct PeftTarget {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t nnz;
};
SHIRA_API std::int64_t peft_shira_r(const std::vector<PeftTarget>& targets);

/// Writes PEFT's SHiRA: adapter_model.safetensors, then adapter_config.json, each atomically. Every
/// tensor is filled up to r * (in + out) entries with zeros at positions that it does not have; the
/// real count is in the file's metadata, where read_peft_sparse_file finds it. `task_type` as PEFT
/// spells it ("CAUSAL_LM"), or empty. ShapeError as peft_shira_r.
SHIRA_API void write_peft_shira_file(const std::filesystem::path& directory,
                                     const PeftSparseFile& file, const std::string& task_type);

}  // namespace shira
