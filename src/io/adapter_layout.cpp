#include "peft_config.h"
#include "quote.h"

#include <shira/io/adapter_layout.h>
#include <shira/io/diffusers_lora_file.h>

namespace shira {
namespace {

namespace fs = std::filesystem;

/// Whether `path` is LoRA as diffusers reads it. IoError for a file that is no safetensors file.
bool is_diffusers_lora(const fs::path& path) {
  if (fs::is_regular_file(path)) {
    SHIRA_CHECK(IoError, path.extension() == ".safetensors", path.string(),
                ": expected an adapter directory or a .safetensors file. Other files are pickles, "
                "which can hold code and are not read.");
    return true;
  }
  return !fs::exists(path / detail::kPeftConfigName) && fs::exists(path / kDiffusersLoraName);
}

}  // namespace

AdapterLayout adapter_layout(const fs::path& path) {
  if (is_diffusers_lora(path)) return AdapterLayout::kDiffusersLora;
  const nlohmann::ordered_json config = detail::read_adapter_config(path);
  if (config.contains("layout") && config["layout"] == "shira") return AdapterLayout::kShira;
  const nlohmann::ordered_json type =
      config.contains("peft_type") ? config["peft_type"] : nlohmann::ordered_json();
  if (type == "SHIRA") return AdapterLayout::kPeftShira;
  if (type == "SUPERTUNING") return AdapterLayout::kPeftSuperTuning;
  if (type == "LORA") return AdapterLayout::kPeftLora;
  throw IoError(
      detail::concat((path / detail::kPeftConfigName).string(), ": peft_type is ",
                     type.is_string() ? detail::quote(type.get<std::string>()) : "missing",
                     ", expected SHIRA, SUPERTUNING or LORA, or an adapter of ours "
                     "(\"layout\": \"shira\"). Merge another method's adapter in PEFT "
                     "(merge_and_unload) and use the merged checkpoint."));
}

bool is_lora_layout(AdapterLayout layout) {
  return layout == AdapterLayout::kPeftLora || layout == AdapterLayout::kDiffusersLora;
}

std::string_view layout_name(AdapterLayout layout) {
  switch (layout) {
    case AdapterLayout::kShira: return "shira";
    case AdapterLayout::kPeftShira: return "PEFT SHiRA";
    case AdapterLayout::kPeftSuperTuning: return "PEFT Super-Tuning";
    case AdapterLayout::kPeftLora: return "PEFT LoRA";
    case AdapterLayout::kDiffusersLora: return "diffusers LoRA";
  }
  return "";
}

}  // namespace shira
