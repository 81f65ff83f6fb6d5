// Everything is copied out of the mapped file: what somebody does to the file later cannot reach
// the weights. Blocks of positions are decoded on all threads.
#include "adapter.h"

#include <shira/base/error.h>
#include <shira/io/adapter_file.h>
#include <shira/kernels/finite.h>
#include <shira/kernels/parallel.h>

#include <cstring>

namespace shira::capi {
namespace {

void load_sparse(const AdapterFileView& file, Adapter& adapter) {
  std::vector<SparseBlock> blocks;
  for (const SparseTargetView& target : file.sparse) {
    const auto count = static_cast<std::size_t>(target.positions.count());
    const auto indices = std::make_shared<std::vector<std::int32_t>>(count);
    const auto values = std::make_shared_for_overwrite<std::byte[]>(target.values.byte_size);
    adapter.targets.emplace(target.name, AdapterTarget{target.shape, indices, target.values.dtype,
                                                       values, target.base_checksum});
    for (std::int64_t block = 0; block < target.positions.blocks(); ++block) {
      blocks.push_back({&target, block, *indices, values.get()});
    }
  }
  const bool any_bits = file.header.may_hold_any_bits();
  parallel_chunks(std::ssize(blocks), 1, [&](std::int64_t i, std::int64_t, std::int64_t) {
    const SparseBlock& block = blocks[static_cast<std::size_t>(i)];
    const auto values = read_block(block);
    if (!any_bits) check_file_values(block.target->name, values, block.target->values.dtype);
  });
}

void load_whole(const AdapterFileView& file, Adapter& adapter) {
  for (const auto& [name, tensor] : file.whole) {
    const auto values = std::make_shared_for_overwrite<std::byte[]>(tensor.byte_size);
    if (tensor.byte_size > 0) std::memcpy(values.get(), tensor.data, tensor.byte_size);
    if (!file.header.may_hold_any_bits()) {
      check_file_values(name, {values.get(), tensor.byte_size}, tensor.dtype);
    }
    adapter.targets.emplace(name, AdapterTarget{tensor.shape, nullptr, tensor.dtype, values, {}});
  }
}

}  // namespace

Adapter load_adapter(const std::filesystem::path& directory) {
  const AdapterFileView file = read_adapter_file(directory);
  Adapter adapter{file.header.value_kind == "deltas", file.header.base_dtype, {}, file.removed};
  try {
    load_sparse(file, adapter);
    load_whole(file, adapter);
  } catch (const IoError& error) {
    throw IoError(detail::concat((directory / "adapter_model.safetensors").string(), ": ",
                                 error.what(), ". The file is damaged or not an adapter of ours."));
  }
  return adapter;
}

}  // namespace shira::capi
