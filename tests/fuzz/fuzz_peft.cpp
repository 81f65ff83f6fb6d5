// Any two files are either refused with IoError or PEFT's adapter: of sparse differences, inside
// their shapes and the same after they are written and read again, or of factors that make a
// product. An input is adapter_config.json, a line of "=====" and adapter_model.safetensors, which
// is also read with its length field put right.
#include "fuzz_directory.h"
#include "mutation_driver.h"
#include "safetensors_input.h"

#include <shira/base/error.h>
#include <shira/io/adapter_layout.h>
#include <shira/io/peft_lora_file.h>
#include <shira/io/peft_sparse_file.h>

#include <cmath>

namespace {

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kTensors = "adapter_model.safetensors";
const shira::ParameterShapes kShapes = {{"a.q.weight", {8, 4}}, {"b.weight", {2, 3}}};

bool is_sound(const shira::PeftSparseTensor& tensor) {
  std::int64_t last = -1;
  for (const std::int32_t index : tensor.indices) {
    if (index <= last || index >= tensor.shape.at(0) * tensor.shape.at(1)) return false;
    last = index;
  }
  return tensor.deltas.size() == tensor.indices.size() &&
         std::ranges::all_of(tensor.deltas, [](float delta) { return std::isfinite(delta); });
}

bool are_equal(const shira::PeftSparseTensor& a, const shira::PeftSparseTensor& b) {
  return a.name == b.name && a.indices == b.indices && a.deltas == b.deltas;
}

void check_sparse(const shira::PeftSparseFile& adapter) {
  static const shira::FuzzDirectory directory;
  if (!std::ranges::all_of(adapter.tensors, is_sound)) std::abort();
  try {
    shira::write_peft_shira_file(directory.path(), adapter, "");
  } catch (const shira::ShapeError&) {
    return;  // Super-Tuning may have more entries than SHiRA can hold
  }
  const auto again = shira::read_peft_sparse_file(directory.path(), kShapes);
  if (!std::ranges::equal(adapter.tensors, again.tensors, are_equal)) std::abort();
}

void check_lora(const shira::PeftLoraFile& adapter) {
  for (const shira::PeftLoraTensor& tensor : adapter.tensors) {
    const bool is_product = tensor.a.shape.at(0) == tensor.b.shape.at(1) &&
                            tensor.a.shape.size() == tensor.b.shape.size();
    if (!is_product || !std::isfinite(tensor.scaling) || tensor.scaling <= 0) std::abort();
  }
}

void read(const std::string& config, const std::string& tensors) {
  static const shira::FuzzDirectory directory;
  directory.write(kConfig, config);
  directory.write(kTensors, tensors);
  try {
    if (shira::adapter_layout(directory.path()) == shira::AdapterLayout::kPeftLora) {
      check_lora(shira::read_peft_lora_file(directory.path()));
    } else {
      check_sparse(shira::read_peft_sparse_file(directory.path(), kShapes));
    }
  } catch (const shira::IoError&) {
    return;
  }
}

std::string input_of(const std::string& config, const std::vector<shira::TensorBytes>& tensors) {
  const shira::FuzzDirectory directory;
  shira::write_safetensors(directory.path() / kTensors, tensors);
  return config + std::string(shira::kFuzzSeparator) +
         shira::read_file(directory.path() / kTensors);
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  const std::vector<float> values(64, 0.5f);
  const std::vector<std::int32_t> indices = {7, 1, 0, 3, 2, 6, 5, 4, 1, 0, 3, 2,
                                             3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2};
  const std::string module = "base_model.model.a.q.";
  const auto shira_seed =
      input_of(R"({"peft_type": "SHIRA", "r": 1, "mask_type": "random", "target_modules": ["q"]})",
               {{module + "shira_indices", shira::DType::kI32, {2, 12}, indices.data()},
                {module + "shira_weight", shira::DType::kF32, {12}, values.data()}});
  const auto supertuning_seed =
      input_of(R"({"peft_type": "SUPERTUNING", "sparsity": 0.75})",
               {{module + "supertuning_indices", shira::DType::kI32, {8}, indices.data()},
                {module + "supertuning_values", shira::DType::kBF16, {8}, values.data()}});
  const auto lora_seed =
      input_of(R"json({"peft_type": "LORA", "r": 3, "lora_alpha": 4, "use_dora": true, )json"
               R"json("rank_pattern": {"a.(q|v)": 2}, "alpha_pattern": {"q": 3.5}})json",
               {{module + "lora_A.weight", shira::DType::kF32, {2, 4}, values.data()},
                {module + "lora_B.weight", shira::DType::kF32, {8, 2}, values.data()},
                {module + "lora_magnitude_vector", shira::DType::kF32, {8}, values.data()}});
  return {shira_seed, supertuning_seed, lora_seed};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto [config, tensors] = shira::two_parts(data, size);
  read(config, tensors);
  read(config, shira::with_right_length(tensors));
  return 0;
}
