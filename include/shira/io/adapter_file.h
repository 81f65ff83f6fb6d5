// The `shira` adapter layout (docs/adapter_format.md), without LibTorch: a safetensors file with
// three tensors a target, `<parameter>.values`, `.gaps` and `.restarts`, and a JSON record of each
// target in the file's metadata.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/export.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shira {

struct AdapterFileTensor {
  std::string name;  // of the parameter
  std::vector<std::int64_t> shape;
  std::vector<std::int32_t> indices;  // sorted, unique
  DType dtype = DType::kF32;          // of the values
  std::vector<std::byte> values;      // indices.size() items
  std::optional<std::uint64_t> base_checksum;
};

struct AdapterFile {
  std::string value_kind;  // weights | deltas
  DType base_dtype = DType::kF32;
  std::string base_model;
  std::string mask_type;
  std::vector<AdapterFileTensor> tensors;
};

/// Writes adapter_model.safetensors, then adapter_config.json, each atomically.
SHIRA_API void write_adapter_file(const std::filesystem::path& directory, const AdapterFile& file);

/// Reads and checks both files; IoError names the file and the tensor.
SHIRA_API AdapterFile read_adapter_file(const std::filesystem::path& directory);

}  // namespace shira
