// Between SparseAdapter (LibTorch tensors) and the adapter files (raw bytes).
#include <shira/base/error.h>
#include <shira/io/adapter_file.h>
#include <shira/io/checksum.h>
#include <shira/kernels/finite.h>
#include <shira/kernels/parallel.h>
#include <shira/sparse/sparse_adapter.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>

namespace shira {
namespace {

/// Decodes the targets' blocks on all threads.
void load_targets(const AdapterFileView& file, SparseAdapter& adapter) {
  std::vector<SparseBlock> blocks;
  for (const SparseTargetView& target : file.sparse) {
    const std::int64_t nnz = target.positions.count();
    const torch::Tensor indices = at::empty({nnz}, torch::kInt32);
    const torch::Tensor values = at::empty({nnz}, to_scalar_type(target.values.dtype));
    adapter.tensors.emplace(target.name, SparseTensor{SparseMask::of_checked(target.shape, indices),
                                                      values, target.base_checksum});
    for (std::int64_t block = 0; block < target.positions.blocks(); ++block) {
      blocks.push_back({&target,
                        block,
                        {indices.mutable_data_ptr<std::int32_t>(), static_cast<std::size_t>(nnz)},
                        static_cast<std::byte*>(values.mutable_data_ptr())});
    }
  }
  const bool any_bits = file.header.may_hold_any_bits();
  parallel_chunks(std::ssize(blocks), 1, [&](std::int64_t i, std::int64_t, std::int64_t) {
    const SparseBlock& block = blocks[static_cast<std::size_t>(i)];
    const auto values = read_block(block);
    if (!any_bits) check_file_values(block.target->name, values, block.target->values.dtype);
  });
}

void load_whole(const AdapterFileView& file, SparseAdapter& adapter) {
  for (const auto& [name, view] : file.whole) {
    if (!file.header.may_hold_any_bits()) {
      check_file_values(name, {view.data, view.byte_size}, view.dtype);
    }
    adapter.whole.emplace(name, map_tensor(view));
  }
}

torch::Tensor contiguous_on_cpu(const torch::Tensor& tensor) {
  return tensor.detach().cpu().contiguous();
}

}  // namespace

std::int64_t SparseAdapter::nnz() const {
  std::int64_t total = 0;
  for (const auto& [name, tensor] : tensors) total += tensor.mask.nnz();
  return total;
}

MaskMap SparseAdapter::masks() const {
  MaskMap masks;
  for (const auto& [name, tensor] : tensors) masks.emplace(name, tensor.mask);
  return masks;
}

torch::ScalarType SparseAdapter::checksum_dtype(const SparseTensor& tensor) const {
  return kind == ValueKind::kWeights ? tensor.values.scalar_type() : base_dtype;
}

std::uint64_t base_checksum(const torch::Tensor& values, torch::ScalarType dtype) {
  const torch::Tensor bytes = values.detach().cpu().to(dtype).contiguous();
  return xxh3_64(bytes.const_data_ptr(), bytes.nbytes());
}

void save_adapter(const std::filesystem::path& directory, const SparseAdapter& adapter) {
  AdapterFileBytes file{{adapter.kind == ValueKind::kWeights ? "weights" : "deltas",
                         to_dtype(adapter.base_dtype), adapter.base_model, adapter.mask_type},
                        {},
                        {},
                        adapter.removed,
                        adapter.added};
  std::vector<torch::Tensor> kept;  // what `file` borrows
  for (const auto& [name, tensor] : adapter.tensors) {
    const torch::Tensor& values = kept.emplace_back(contiguous_on_cpu(tensor.values));
    const torch::Tensor& indices = tensor.mask.indices();
    file.sparse.push_back(
        {name,
         tensor.mask.shape(),
         {indices.const_data_ptr<std::int32_t>(), static_cast<std::size_t>(indices.numel())},
         to_dtype(values.scalar_type()),
         values.const_data_ptr(),
         tensor.base_checksum});
  }
  for (const auto& [name, tensor] : adapter.whole) {
    const torch::Tensor& values = kept.emplace_back(contiguous_on_cpu(tensor));
    file.whole.push_back(
        {name, to_dtype(values.scalar_type()), values.sizes().vec(), values.const_data_ptr()});
  }
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  SHIRA_CHECK(IoError, !error, directory.string(), ": cannot be made: ", error.message(), ".");
  write_adapter_file(directory, file);
}

SparseAdapter load_adapter(const std::filesystem::path& directory) {
  const AdapterFileView file = read_adapter_file(directory);
  SparseAdapter adapter;
  adapter.kind = file.header.value_kind == "weights" ? ValueKind::kWeights : ValueKind::kDeltas;
  adapter.base_dtype = to_scalar_type(file.header.base_dtype);
  adapter.base_model = file.header.base_model;
  adapter.mask_type = file.header.mask_type;
  try {
    load_targets(file, adapter);
    load_whole(file, adapter);
  } catch (const IoError& error) {
    throw IoError(detail::concat((directory / "adapter_model.safetensors").string(), ": ",
                                 error.what(), ". The file is damaged or not an adapter of ours."));
  }
  adapter.removed = file.removed;
  adapter.added = file.added;
  return adapter;
}

}  // namespace shira
