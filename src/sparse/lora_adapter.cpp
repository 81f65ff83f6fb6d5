// The operations are those of peft/tuners/lora (Linear.get_delta_weight, DoraLinearVariant.merge_*,
// _ConvNd.get_delta_weight) in their order and dtypes: PEFT holds adapters in float32 on 2-byte
// bases, adds in float32 and rounds once.
#include <shira/base/error.h>
#include <shira/io/adapter_layout.h>
#include <shira/io/diffusers_lora_file.h>
#include <shira/io/peft_lora_file.h>
#include <shira/sparse/lora_adapter.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>

namespace shira {
namespace {

void check_finite(const std::string& name, const char* role, const torch::Tensor& tensor) {
  SHIRA_CHECK(IoError, tensor.isfinite().all().item<bool>(), name, ": its ", role,
              " has values that are not finite.");
}

/// An owned float32 copy of one of `name`'s tensors.
torch::Tensor finite_factor(const std::string& name, const char* role, const TensorView& view) {
  torch::Tensor tensor = copy_tensor(view, torch::kFloat32);
  check_finite(name, role, tensor);
  return tensor;
}

/// One of `name`'s tensors as a file has it.
torch::Tensor file_factor(const std::string& name, const char* role, const torch::Tensor& tensor) {
  const torch::Tensor ready = tensor.detach().cpu().to(torch::kFloat32).contiguous();
  check_finite(name, role, ready);
  return ready;
}

TensorView view_of(const torch::Tensor& tensor) {
  const auto* data = static_cast<const std::byte*>(tensor.const_data_ptr());
  return {DType::kF32, tensor.sizes().vec(), data, tensor.nbytes(), nullptr};
}

/// B A in the base's shape, in its dtype and on its device.
torch::Tensor factor_product(const LoraTensor& lora, const torch::Tensor& base) {
  const torch::Tensor a = lora.a.to(base.options()), b = lora.b.to(base.options());
  if (a.dim() == 2) return at::matmul(b, a);
  if (a.size(2) == 1 && a.size(3) == 1) {
    return at::matmul(b.squeeze(3).squeeze(2), a.squeeze(3).squeeze(2)).unsqueeze(2).unsqueeze(3);
  }
  return at::conv2d(a.transpose(0, 1), b).transpose(0, 1);
}

/// The base in the dtype of the sums; ShapeError where the factors do not fit it.
torch::Tensor wide_base(const LoraTensor& lora, const torch::Tensor& base) {
  const std::vector<std::int64_t> shape = weight_shape(lora);
  const auto dtype = base.scalar_type();
  const bool is_weight = dtype == torch::kFloat64 || dtype == torch::kFloat32 ||
                         dtype == torch::kBFloat16 || dtype == torch::kFloat16;
  SHIRA_CHECK(ShapeError, is_weight && base.sizes() == at::IntArrayRef(shape),
              "the base's weight is ", dtype, " ", base.sizes(), ", the LoRA adapter is for ",
              at::IntArrayRef(shape), ".");
  return base.to(dtype == torch::kFloat64 ? dtype : torch::kFloat32);
}

torch::Tensor adapted_sum(const LoraTensor& lora, const torch::Tensor& original) {
  return original + factor_product(lora, original) * lora.scaling;
}

torch::Tensor row_norms(const torch::Tensor& weight) {
  return at::linalg_norm(weight.flatten(1), std::nullopt, at::IntArrayRef{1});
}

/// DoRA's W' from W = `original`.
torch::Tensor dora_weight(const LoraTensor& lora, const torch::Tensor& original) {
  const torch::Tensor sum = adapted_sum(lora, original);
  const torch::Tensor gains = lora.magnitude.to(original.options()) / row_norms(sum);  // (out)
  return (gains.view({-1, 1}) * sum.flatten(1)).view_as(sum);
}

torch::Tensor change_of(const LoraTensor& lora, const torch::Tensor& original, double scale) {
  if (lora.magnitude.defined()) return (dora_weight(lora, original) - original) * scale;
  return factor_product(lora, original) * (lora.scaling * scale);
}

torch::Tensor adapted(const LoraTensor& lora, const torch::Tensor& original, double scale) {
  const bool is_whole_dora = lora.magnitude.defined() && scale == 1.0;
  if (is_whole_dora) return dora_weight(lora, original);
  return original + change_of(lora, original, scale);
}

torch::Tensor checked_finite(torch::Tensor weights) {
  SHIRA_CHECK(ShapeError, weights.isfinite().all().item<bool>(),
              "the LoRA adapter gives weights that are not finite.");
  return weights;
}

}  // namespace

std::vector<std::int64_t> weight_shape(const LoraTensor& lora) {
  std::vector<std::int64_t> shape = lora.a.sizes().vec();
  shape[0] = lora.b.size(0);
  return shape;
}

LoraAdapter load_lora_adapter(const std::filesystem::path& path, const ParameterShapes* base) {
  const bool is_diffusers = adapter_layout(path) == AdapterLayout::kDiffusersLora;
  const PeftLoraFile file =
      is_diffusers ? read_diffusers_lora_file(path, base) : read_peft_lora_file(path, base);
  LoraAdapter adapter{{}, file.base_model, file.use_rslora};
  for (const PeftLoraTensor& tensor : file.tensors) {
    const std::string place = path.string() + ": " + tensor.name;
    LoraTensor lora{finite_factor(place, "lora_A", tensor.a),
                    finite_factor(place, "lora_B", tensor.b),
                    tensor.scaling,
                    {}};
    if (tensor.magnitude) {
      lora.magnitude = finite_factor(place, "lora_magnitude_vector", *tensor.magnitude).flatten();
    }
    adapter.tensors.emplace(tensor.name, std::move(lora));
  }
  return adapter;
}

void save_lora_adapter(const std::filesystem::path& directory, const LoraAdapter& adapter,
                       const std::string& task_type) {
  PeftLoraFile file{adapter.base_model, {}, adapter.use_rslora, adapter.dropout};
  std::vector<torch::Tensor> kept;  // what `file` borrows
  for (const auto& [name, lora] : adapter.tensors) {
    const auto view = [&](const char* role, const torch::Tensor& tensor) {
      kept.push_back(file_factor(name, role, tensor));
      return view_of(kept.back());
    };
    PeftLoraTensor tensor{name, view("lora_A", lora.a), view("lora_B", lora.b), std::nullopt,
                          lora.scaling};
    if (lora.magnitude.defined()) {
      const bool is_convolution = lora.a.dim() == 4;
      tensor.magnitude = view("lora_magnitude_vector",
                              is_convolution ? lora.magnitude.view({1, -1, 1, 1}) : lora.magnitude);
    }
    file.tensors.push_back(std::move(tensor));
  }
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  SHIRA_CHECK(IoError, !error, directory.string(), ": cannot be made: ", error.message(), ".");
  if (is_pipeline_lora(file)) return write_diffusers_lora_file(directory, file);
  write_peft_lora_file(directory, file, task_type);
}

torch::Tensor dora_norms(const LoraTensor& lora, const torch::Tensor& base) {
  torch::NoGradGuard no_grad;
  return row_norms(adapted_sum(lora, wide_base(lora, base)));
}

torch::Tensor weight_change(const LoraTensor& lora, const torch::Tensor& base, double scale) {
  torch::NoGradGuard no_grad;
  return checked_finite(change_of(lora, wide_base(lora, base), scale));
}

torch::Tensor adapted_weight(const LoraTensor& lora, const torch::Tensor& base, double scale) {
  torch::NoGradGuard no_grad;
  return checked_finite(adapted(lora, wide_base(lora, base), scale));
}

torch::Tensor merged_weight(const LoraTensor& lora, const torch::Tensor& base, double scale) {
  torch::NoGradGuard no_grad;
  const torch::Tensor original = wide_base(lora, base);
  if (scale == 0.0) return base.clone();
  return checked_finite(adapted(lora, original, scale).to(base.scalar_type()));
}

}  // namespace shira
