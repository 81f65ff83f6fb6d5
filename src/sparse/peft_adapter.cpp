// Between SparseAdapter and PEFT's files (io/peft_sparse_file.h).
#include "base_tensor.h"

#include <shira/base/error.h>
#include <shira/io/parameter_shapes.h>
#include <shira/io/peft_sparse_file.h>
#include <shira/sparse/peft_adapter.h>

#include <ATen/Functions.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>
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

/// One directory of PEFT's: all tensors, or those of a pipeline's component by the names that its
/// module gives them. transformers 5 has dropped "text_model." from CLIPTextModel, but not from
/// CLIPTextModelWithProjection, Stable Diffusion XL's second text encoder.
struct PeftPart {
  std::string component;  // "" for all
  std::vector<PeftSparseTensor> tensors;
};

std::string name_in_part(const std::string& name, const std::string& component) {
  constexpr std::string_view kTextModel = "text_model.";
  if (component.empty()) return name;
  std::string own = name.substr(component.size() + 1);
  if (component == "text_encoder" && own.starts_with(kTextModel)) own.erase(0, kTextModel.size());
  return own;
}

/// Whether all items, by name, are parameters of a pipeline.
template <typename Items>
bool is_pipelines(const Items& items) {
  return std::ranges::none_of(
      items, [](const auto& item) { return pipeline_component(item.first).empty(); });
}

std::vector<PeftPart> parts_of(const SparseAdapter& deltas) {
  const bool is_pipeline = is_pipelines(deltas.tensors);
  std::vector<PeftPart> parts;
  if (deltas.tensors.empty()) parts.emplace_back();
  for (const auto& [name, tensor] : deltas.tensors) {  // sorted: a component's are together
    const std::string component = is_pipeline ? pipeline_component(name) : "";
    if (parts.empty() || parts.back().component != component) parts.push_back({component, {}});
    parts.back().tensors.push_back(peft_tensor(name_in_part(name, component), tensor));
  }
  return parts;
}

void make_directory(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  SHIRA_CHECK(IoError, !error, directory.string(), ": cannot be made: ", error.message(), ".");
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
  const bool is_pipeline = is_pipelines(masks);
  std::map<std::string, std::vector<PeftTarget>> targets;  // by component
  for (const auto& [name, mask] : masks) {
    targets[is_pipeline ? pipeline_component(name) : ""].push_back(
        {name, mask.shape(), mask.nnz()});
  }
  for (const auto& [component, of_component] : targets) peft_shira_r(of_component);
}

void save_peft_adapter(const std::filesystem::path& directory, const SparseAdapter& adapter,
                       const BaseTensors& base, const std::string& task_type) {
  torch::NoGradGuard no_grad;
  check_sparse(adapter);
  const bool are_deltas = adapter.kind == ValueKind::kDeltas;
  const SparseAdapter deltas = are_deltas ? adapter : adapter_deltas(adapter, &base);
  check_peft_can_hold(deltas.masks());
  for (PeftPart& part : parts_of(deltas)) {
    const auto place = part.component.empty() ? directory : directory / part.component;
    make_directory(place);
    write_peft_shira_file(place, {adapter.base_model, adapter.mask_type, std::move(part.tensors)},
                          task_type);
  }
}

}  // namespace shira
