// shira inspect: what an adapter or a checkpoint holds, and how two adapters differ.
#include "commands.h"
#include "inspect_pair.h"

#include <shira/base/error.h>
#include <shira/io/adapter_layout.h>
#include <shira/io/checkpoint_files.h>
#include <shira/io/diffusers_lora_file.h>
#include <shira/sparse/lora_adapter.h>
#include <shira/sparse/sparse_adapter.h>
#include <shira/sparse/tensor_file.h>

#include <nlohmann/json.hpp>

#include <iostream>
#include <set>

namespace shira::tools {
namespace {

using Json = nlohmann::ordered_json;

/// What an adapter does to whole tensors, as only the difference of two checkpoints has it.
void add_whole_changes(const SparseAdapter& adapter, Json& tensors) {
  const std::set<std::string> added(adapter.added.begin(), adapter.added.end());
  for (const auto& [name, tensor] : adapter.whole) {
    tensors.push_back({{"name", name},
                       {"shape", tensor.sizes().vec()},
                       {"dtype", torch_dtype_name(tensor.scalar_type())},
                       {"change", added.contains(name) ? "added" : "replaced"}});
  }
  for (const std::string& name : adapter.removed) {
    tensors.push_back({{"name", name}, {"change", "removed"}});
  }
}

Json describe_adapter(const std::filesystem::path& directory) {
  const SparseAdapter adapter = load_adapter(directory);
  Json tensors = Json::array();
  for (const auto& [name, tensor] : adapter.tensors) {
    tensors.push_back({{"name", name},
                       {"shape", tensor.mask.shape()},
                       {"nnz", tensor.mask.nnz()},
                       {"density", tensor.mask.density()}});
  }
  add_whole_changes(adapter, tensors);
  const auto bytes = std::filesystem::file_size(directory / "adapter_model.safetensors");
  std::int64_t entries = std::max<std::int64_t>(adapter.nnz(), 1);
  for (const auto& [name, tensor] : adapter.whole) entries += tensor.numel();
  return {{"kind", "adapter"},
          {"value_kind", adapter.kind == ValueKind::kWeights ? "weights" : "deltas"},
          {"mask_type", adapter.mask_type},
          {"base_model", adapter.base_model},
          {"base_dtype", torch_dtype_name(adapter.base_dtype)},
          {"nnz", adapter.nnz()},
          {"bytes", bytes},
          {"bytes_per_entry", static_cast<double>(bytes) / static_cast<double>(entries)},
          {"tensors", tensors}};
}

/// The file that holds a LoRA adapter's factors.
std::filesystem::path lora_tensors_path(const std::filesystem::path& path) {
  if (!std::filesystem::is_directory(path)) return path;
  const bool is_diffusers = adapter_layout(path) == AdapterLayout::kDiffusersLora;
  return path / (is_diffusers ? kDiffusersLoraName : "adapter_model.safetensors");
}

/// A LoRA or DoRA adapter of PEFT or diffusers.
Json describe_lora(const std::filesystem::path& path) {
  const LoraAdapter adapter = load_lora_adapter(path);
  Json tensors = Json::array();
  std::int64_t parameters = 0;
  bool is_dora = false;
  for (const auto& [name, lora] : adapter.tensors) {
    is_dora = lora.magnitude.defined();
    parameters += lora.a.numel() + lora.b.numel() + (is_dora ? lora.magnitude.numel() : 0);
    tensors.push_back({{"name", name},
                       {"shape", weight_shape(lora)},
                       {"r", lora.a.size(0)},
                       {"scaling", lora.scaling}});
  }
  return {{"kind", is_dora ? "dora" : "lora"},
          {"base_model", adapter.base_model},
          {"parameters", parameters},
          {"bytes", std::filesystem::file_size(lora_tensors_path(path))},
          {"tensors", tensors}};
}

Json describe_checkpoint(const std::filesystem::path& directory) {
  const CheckpointFiles files(directory);
  Json tensors = Json::array();
  std::int64_t parameters = 0;
  std::size_t bytes = 0;
  for (const std::string& name : files.names()) {
    const TensorView view = files.view(name);
    parameters += static_cast<std::int64_t>(view.byte_size / item_size(view.dtype));
    bytes += view.byte_size;
    tensors.push_back({{"name", name}, {"shape", view.shape}, {"dtype", dtype_name(view.dtype)}});
  }
  return {
      {"kind", "checkpoint"}, {"parameters", parameters}, {"bytes", bytes}, {"tensors", tensors}};
}

Json describe(const std::filesystem::path& path) {
  const bool is_adapter = std::filesystem::is_regular_file(path) ||
                          std::filesystem::exists(path / "adapter_config.json") ||
                          std::filesystem::exists(path / kDiffusersLoraName);
  if (!is_adapter) return describe_checkpoint(path);
  return is_lora_layout(adapter_layout(path)) ? describe_lora(path) : describe_adapter(path);
}

/// One "key: value" a line, then a line a tensor.
void print_text(const Json& description) {
  for (const auto& [key, value] : description.items()) {
    if (key == "tensors") continue;
    std::cout << key << ": " << (value.is_string() ? value.get<std::string>() : value.dump())
              << "\n";
  }
  for (const Json& tensor : description.at("tensors")) {
    std::cout << "  " << tensor.at("name").get<std::string>();
    for (const auto& [key, value] : tensor.items()) {
      if (key != "name")
        std::cout << "  " << key << " "
                  << (value.is_string() ? value.get<std::string>() : value.dump());
    }
    std::cout << "\n";
  }
}

void inspect_one(const InspectPairFlags& flags) {
  const Json description = describe(flags.first);
  if (flags.json) {
    std::cout << description.dump() << "\n";
  } else {
    print_text(description);
  }
}

}  // namespace

void add_inspect(CLI::App& app, int&) {
  auto flags = std::make_shared<InspectPairFlags>();
  CLI::App* command = app.add_subcommand(
      "inspect", "Describe an adapter or a checkpoint directory, or compare two adapters");
  command
      ->add_option(
          "directory", flags->first,
          "Checkpoint or adapter directory (ours, PEFT's LoRA or diffusers'), or a LoRA file")
      ->required();
  CLI::Option* second = command->add_option(
      "other", flags->second, "Another adapter of the same model: overlap, distances, AWOM, AWOR");
  command
      ->add_option("--base_model", flags->base_model,
                   "The two adapters' base, against which changes are taken")
      ->needs(second);
  command->add_flag("--force", flags->force, "Accept a base that they were not trained on")
      ->needs(second);
  CLI::Option* tensor =
      command->add_option("--draw", flags->tensor, "Parameter whose A^T B to draw, with --picture")
          ->needs(second);
  CLI::Option* picture = command->add_option("--picture", flags->picture, "PNG file of it");
  tensor->needs(picture);
  picture->needs(tensor);
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->callback(
      [flags] { flags->second.empty() ? inspect_one(*flags) : inspect_pair(*flags); });
}

}  // namespace shira::tools
