// Between SparseAdapter and PEFT's files (io/peft_sparse_file.h).
#include "base_tensor.h"

#include <shira/base/error.h>
#include <shira/io/peft_sparse_file.h>
#include <shira/sparse/peft_adapter.h>

#include <ATen/Functions.h>

#include <cstring>
#include <vector>

namespace shira {
namespace {

template <typename Item>
torch::Tensor tensor_from(const std::vector<Item>& items, torch::ScalarType dtype) {
  torch::Tensor tensor = at::empty({static_cast<std::int64_t>(items.size())}, dtype);
  if (!items.empty()) std::memcpy(tensor.data_ptr(), items.data(), tensor.nbytes());
  return tensor;
}

template <typename Item>
std::vector<Item> items_of(const torch::Tensor& tensor) {
  const torch::Tensor ready = tensor.contiguous();
  const auto* first = ready.const_data_ptr<Item>();
  return {first, first + ready.numel()};
}

SparseTensor sparse_tensor(const PeftSparseTensor& tensor, bool rounds_values,
                           torch::ScalarType dtype) {
  torch::Tensor deltas = tensor_from(tensor.deltas, torch::kFloat32);
  if (rounds_values) deltas = deltas.to(dtype).to(torch::kFloat32);
  return {SparseMask(tensor.shape, tensor_from(tensor.indices, torch::kInt32)), deltas, {}};
}

PeftSparseTensor peft_tensor(const std::string& name, const SparseTensor& tensor) {
  const torch::Tensor deltas = tensor.values.detach().cpu().to(torch::kFloat32);
  SHIRA_CHECK(ShapeError, deltas.isfinite().all().item<bool>(), name,
              ": has values that are not finite.");
  const SparseMask& mask = tensor.mask;
  return {name, mask.shape(), items_of<std::int32_t>(mask.indices()), items_of<float>(deltas)};
}

/// What the difference of two checkpoints may hold beside sparse tensors.
void check_sparse(const SparseAdapter& adapter) {
  const bool is_sparse = adapter.whole.empty() && adapter.removed.empty();
  SHIRA_CHECK(ShapeError, is_sparse,
              "PEFT's SHiRA holds single entries of linear layers only. This adapter has ",
              adapter.whole.empty() ? adapter.removed.front() : adapter.whole.begin()->first,
              ", which it replaces, adds or removes whole. Ship the shira layout, or the merged "
              "checkpoint (shira merge).");
}

}  // namespace

SparseAdapter load_peft_adapter(const std::filesystem::path& directory, const BaseTensors& base) {
  const PeftSparseFile file = read_peft_sparse_file(directory, detail::shapes_of(base));
  const bool rounds_values = file.mask_type == "supertuning";
  SparseAdapter adapter;
  adapter.kind = ValueKind::kDeltas;
  adapter.base_model = file.base_model;
  adapter.mask_type = file.mask_type;
  for (const PeftSparseTensor& tensor : file.tensors) {
    adapter.base_dtype = detail::base_tensor(base, tensor.name).scalar_type();
    adapter.tensors.emplace(tensor.name, sparse_tensor(tensor, rounds_values, adapter.base_dtype));
  }
  return adapter;
}

void check_peft_can_hold(const MaskMap& masks) {
  std::vector<PeftTarget> targets;
  for (const auto& [name, mask] : masks) targets.push_back({name, mask.shape(), mask.nnz()});
  peft_shira_r(targets);
}

void save_peft_adapter(const std::filesystem::path& directory, const SparseAdapter& adapter,
                       const BaseTensors& base, const std::string& task_type) {
  torch::NoGradGuard no_grad;
  check_sparse(adapter);
  const bool are_deltas = adapter.kind == ValueKind::kDeltas;
  const SparseAdapter deltas = are_deltas ? adapter : adapter_deltas(adapter, &base);
  PeftSparseFile file{adapter.base_model, adapter.mask_type, {}};
  for (const auto& [name, tensor] : deltas.tensors) {
    file.tensors.push_back(peft_tensor(name, tensor));
  }
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  SHIRA_CHECK(IoError, !error, directory.string(), ": cannot be made: ", error.message(), ".");
  write_peft_shira_file(directory, file, task_type);
}

}  // namespace shira
