// Between safetensors files and LibTorch tensors: mapped where nobody writes, owned copies
// elsewhere.
#pragma once

#include <shira/base/export.h>
#include <shira/io/safetensors.h>

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace shira {

using NamedTensor = std::pair<std::string, torch::Tensor>;

SHIRA_API torch::ScalarType to_scalar_type(DType dtype);

/// ShapeError for a LibTorch dtype that safetensors files of ours do not hold.
SHIRA_API DType to_dtype(torch::ScalarType type);

/// "float32", "bfloat16", ...: as transformers spells dtypes.
SHIRA_API std::string torch_dtype_name(torch::ScalarType type);

/// A tensor on the mapped, read-only bytes; a copy where they are misaligned for the dtype. Writing
/// into a mapped tensor is a crash, which is why scatter_into refuses it (see is_mapped).
SHIRA_API torch::Tensor map_tensor(const TensorView& view);

/// An owned copy, 64-byte aligned, converted to `dtype`.
SHIRA_API torch::Tensor copy_tensor(const TensorView& view, torch::ScalarType dtype);

/// Whether `tensor` lies in a read-only mapped file.
SHIRA_API bool is_mapped(const torch::Tensor& tensor);

/// drop_pages of a mapped tensor; nothing for another.
SHIRA_API void drop_pages(const torch::Tensor& tensor);

/// Writes tensors (any device, any strides) atomically, in the order given.
SHIRA_API void save_tensors(const std::filesystem::path& path,
                            const std::vector<NamedTensor>& tensors,
                            const std::map<std::string, std::string>& metadata = {});

}  // namespace shira
