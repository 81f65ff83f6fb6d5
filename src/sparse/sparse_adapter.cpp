// Between SparseAdapter (LibTorch tensors) and the adapter files (raw bytes).
#include <shira/base/error.h>
#include <shira/io/adapter_file.h>
#include <shira/io/checksum.h>
#include <shira/sparse/sparse_adapter.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>

#include <cstring>

namespace shira {
namespace {

AdapterFileTensor to_file_tensor(const std::string& name, const SparseTensor& tensor) {
  const torch::Tensor values = tensor.values.detach().cpu().contiguous();
  const torch::Tensor& indices = tensor.mask.indices();
  const auto* first = indices.const_data_ptr<std::int32_t>();
  const auto* bytes = static_cast<const std::byte*>(values.const_data_ptr());
  return {name,
          tensor.mask.shape(),
          {first, first + indices.numel()},
          to_dtype(values.scalar_type()),
          {bytes, bytes + values.nbytes()},
          tensor.base_checksum};
}

SparseTensor from_file_tensor(const AdapterFileTensor& tensor) {
  const auto nnz = static_cast<std::int64_t>(tensor.indices.size());
  torch::Tensor indices = at::empty({nnz}, torch::kInt32);
  torch::Tensor values = at::empty({nnz}, to_scalar_type(tensor.dtype));
  if (nnz > 0) {
    std::memcpy(indices.data_ptr(), tensor.indices.data(), indices.nbytes());
    std::memcpy(values.data_ptr(), tensor.values.data(), values.nbytes());
  }
  return {SparseMask(tensor.shape, indices), values, tensor.base_checksum};
}

}  // namespace

std::int64_t SparseAdapter::nnz() const {
  std::int64_t total = 0;
  for (const auto& [name, tensor] : tensors) total += tensor.mask.nnz();
  return total;
}

std::uint64_t base_checksum(const torch::Tensor& values, torch::ScalarType dtype) {
  const torch::Tensor bytes = values.detach().cpu().to(dtype).contiguous();
  return xxh3_64(bytes.const_data_ptr(), bytes.nbytes());
}

void save_adapter(const std::filesystem::path& directory, const SparseAdapter& adapter) {
  AdapterFile file{adapter.kind == ValueKind::kWeights ? "weights" : "deltas",
                   to_dtype(adapter.base_dtype),
                   adapter.base_model,
                   adapter.mask_type,
                   {}};
  for (const auto& [name, tensor] : adapter.tensors) {
    file.tensors.push_back(to_file_tensor(name, tensor));
  }
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  SHIRA_CHECK(IoError, !error, directory.string(), ": cannot be made: ", error.message(), ".");
  write_adapter_file(directory, file);
}

SparseAdapter load_adapter(const std::filesystem::path& directory) {
  const AdapterFile file = read_adapter_file(directory);
  SparseAdapter adapter;
  adapter.kind = file.value_kind == "weights" ? ValueKind::kWeights : ValueKind::kDeltas;
  adapter.base_dtype = to_scalar_type(file.base_dtype);
  adapter.base_model = file.base_model;
  adapter.mask_type = file.mask_type;
  for (const AdapterFileTensor& tensor : file.tensors) {
    adapter.tensors.emplace(tensor.name, from_file_tensor(tensor));
  }
  return adapter;
}

}  // namespace shira
