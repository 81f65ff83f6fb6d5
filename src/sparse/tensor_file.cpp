// A mapped tensor is recognised by the deleter of its storage: no table of addresses is kept.
#include <shira/base/error.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>
#include <c10/core/CPUAllocator.h>

#include <array>
#include <memory>

namespace shira {
namespace {

using Mapping = std::shared_ptr<const void>;

struct ScalarTypeRow {
  DType dtype;
  torch::ScalarType type;
  const char* name;
};

constexpr std::array<ScalarTypeRow, 19> kScalarTypes{
    {{DType::kF64, torch::kFloat64, "float64"},
     {DType::kF32, torch::kFloat32, "float32"},
     {DType::kF16, torch::kFloat16, "float16"},
     {DType::kBF16, torch::kBFloat16, "bfloat16"},
     {DType::kI64, torch::kInt64, "int64"},
     {DType::kI32, torch::kInt32, "int32"},
     {DType::kU8, torch::kUInt8, "uint8"},
     {DType::kBool, torch::kBool, "bool"},
     {DType::kI16, torch::kInt16, "int16"},
     {DType::kI8, torch::kInt8, "int8"},
     {DType::kU64, torch::kUInt64, "uint64"},
     {DType::kU32, torch::kUInt32, "uint32"},
     {DType::kU16, torch::kUInt16, "uint16"},
     {DType::kF8E4M3, torch::kFloat8_e4m3fn, "float8_e4m3fn"},
     {DType::kF8E5M2, torch::kFloat8_e5m2, "float8_e5m2"},
     {DType::kF8E8M0, torch::kFloat8_e8m0fnu, "float8_e8m0fnu"},
     {DType::kF8E4M3FNUZ, torch::kFloat8_e4m3fnuz, "float8_e4m3fnuz"},
     {DType::kF8E5M2FNUZ, torch::kFloat8_e5m2fnuz, "float8_e5m2fnuz"},
     {DType::kC64, torch::kComplexFloat, "complex64"}}};

const ScalarTypeRow& scalar_type_row(torch::ScalarType type) {
  for (const ScalarTypeRow& row : kScalarTypes) {
    if (row.type == type) return row;
  }
  throw ShapeError(detail::concat("dtype ", type, " is not one that safetensors files hold."));
}

void release_mapping(void* context) { delete static_cast<Mapping*>(context); }

bool is_aligned(const TensorView& view) {
  return reinterpret_cast<std::uintptr_t>(view.data) % item_size(view.dtype) == 0;
}

}  // namespace

torch::ScalarType to_scalar_type(DType dtype) {
  return kScalarTypes[static_cast<std::size_t>(dtype)].type;
}

DType to_dtype(torch::ScalarType type) { return scalar_type_row(type).dtype; }

std::string torch_dtype_name(torch::ScalarType type) { return scalar_type_row(type).name; }

torch::Tensor map_tensor(const TensorView& view) {
  if (!is_aligned(view) || view.byte_size == 0) {
    return copy_tensor(view, to_scalar_type(view.dtype));
  }
  void* data = const_cast<std::byte*>(view.data);
  auto context = std::make_unique<Mapping>(view.mapping);
  c10::DataPtr pointer(data, context.release(), &release_mapping, torch::kCPU);
  c10::Storage storage(c10::Storage::use_byte_size_t(), view.byte_size, std::move(pointer),
                       /*allocator=*/nullptr, /*resizable=*/false);
  return at::empty({0}, to_scalar_type(view.dtype)).set_(storage, 0, view.shape);
}

torch::Tensor copy_tensor(const TensorView& view, torch::ScalarType dtype) {
  torch::Tensor raw = at::empty(view.shape, to_scalar_type(view.dtype));
  if (view.byte_size > 0) std::memcpy(raw.data_ptr(), view.data, view.byte_size);
  return raw.to(dtype);
}

bool is_mapped(const torch::Tensor& tensor) {
  return tensor.has_storage() && tensor.storage().data_ptr().get_deleter() == &release_mapping;
}

void drop_pages(const torch::Tensor& tensor) {
  if (is_mapped(tensor)) drop_pages(tensor.const_data_ptr(), tensor.nbytes());
}

void save_tensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors,
                  const std::map<std::string, std::string>& metadata) {
  std::vector<torch::Tensor> kept;
  std::vector<TensorBytes> bytes;
  for (const auto& [name, tensor] : tensors) {
    kept.push_back(tensor.detach().cpu().contiguous());
    const torch::Tensor& ready = kept.back();
    bytes.push_back({name, to_dtype(ready.scalar_type()), ready.sizes().vec(), ready.data_ptr()});
  }
  write_safetensors(path, bytes, metadata);
}

}  // namespace shira
