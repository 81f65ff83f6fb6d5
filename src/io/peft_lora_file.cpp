// PEFT's two files of a LoRA adapter; what its settings mean is in lora_config.cpp.
#include "adapted_modules.h"
#include "lora_config.h"
#include "peft_config.h"
#include "quote.h"

#include <shira/io/atomic_file.h>
#include <shira/io/peft_lora_file.h>

namespace shira {
namespace {

detail::LoraConfig read_lora_config(const std::filesystem::path& directory) {
  const nlohmann::ordered_json config = detail::read_adapter_config(directory);
  return detail::with_place((directory / detail::kPeftConfigName).string(),
                            [&] { return detail::parse_lora_config(config); });
}

PeftLoraTensor read_lora_tensor(const detail::LoraConfig& config, const std::string& module,
                                const detail::PeftModules::mapped_type& tensors) {
  PeftLoraTensor tensor{module + ".weight", detail::tensor_of(tensors, "lora_A.weight"),
                        detail::tensor_of(tensors, "lora_B.weight"), std::nullopt,
                        config.scaling_of(module)};
  const auto magnitude = tensors.find("lora_magnitude_vector");
  if (magnitude != tensors.end()) tensor.magnitude = magnitude->second;
  detail::check_lora_factors(tensor);
  detail::check_lora_rank(tensor, config.rank_of(module));
  detail::check_lora_magnitude(tensor, config.use_dora);
  return tensor;
}

/// Gives the tensors the base's names: an adapter of a pipeline's component does not have its name.
void rename_to_base(const std::filesystem::path& directory, const detail::LoraConfig& config,
                    const ParameterShapes& shapes, std::vector<PeftLoraTensor>& tensors) {
  std::vector<detail::AdaptedModule> modules;
  for (const PeftLoraTensor& tensor : tensors) {
    modules.push_back({detail::lora_module(tensor), detail::lora_weight_shape(tensor)});
  }
  const detail::BaseModules base = detail::find_modules(modules, shapes, directory);
  detail::check_targets(config.target_suffixes, base, shapes);
  for (PeftLoraTensor& tensor : tensors) {
    tensor.name = base.names.at(detail::lora_module(tensor)) + ".weight";
  }
}

// --- Writing ------------------------------------------------------------------------------------

void write_lora_tensors(const std::filesystem::path& path, const PeftLoraFile& file) {
  std::vector<TensorBytes> bytes;
  const auto add = [&](const PeftLoraTensor& tensor, const char* role, const TensorView& view) {
    const std::string name = std::string(detail::kPeftPrefix) + detail::lora_module(tensor);
    bytes.push_back({name + role, view.dtype, view.shape, view.data});
  };
  for (const PeftLoraTensor& tensor : file.tensors) {
    add(tensor, ".lora_A.weight", tensor.a);
    add(tensor, ".lora_B.weight", tensor.b);
    if (tensor.magnitude) add(tensor, ".lora_magnitude_vector", *tensor.magnitude);
  }
  write_safetensors(path, bytes, {{"format", "pt"}});
}

}  // namespace

void write_peft_lora_file(const std::filesystem::path& directory, const PeftLoraFile& file,
                          const std::string& task_type) {
  SHIRA_CHECK(IoError, !file.tensors.empty(), directory.string(),
              ": a LoRA adapter without tensors cannot be written.");
  write_lora_tensors(directory / detail::kPeftTensorsName, file);
  const auto config = detail::lora_config_json(file, task_type, std::identity());
  write_file(directory / detail::kPeftConfigName, config.dump(2) + "\n");
}

PeftLoraFile read_peft_lora_file(const std::filesystem::path& directory,
                                 const ParameterShapes* shapes) {
  const detail::LoraConfig config = read_lora_config(directory);
  const SafetensorsFile file = detail::open_adapter_tensors(directory);
  PeftLoraFile adapter{
      .base_model = config.base_model, .tensors = {}, .use_rslora = config.use_rslora};
  detail::with_place(file.path().string(), [&] {
    const auto modules =
        detail::group_by_module(file, {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"});
    for (const auto& [module, tensors] : modules) {
      detail::with_place(detail::quote(module + ".weight"), [&] {
        adapter.tensors.push_back(read_lora_tensor(config, module, tensors));
      });
    }
    if (shapes != nullptr) rename_to_base(directory, config, *shapes, adapter.tensors);
  });
  return adapter;
}

}  // namespace shira
