#include "peft_config.h"
#include "quote.h"

#include <shira/io/adapter_layout.h>

namespace shira {

AdapterLayout adapter_layout(const std::filesystem::path& directory) {
  const nlohmann::ordered_json config = detail::read_adapter_config(directory);
  if (config.contains("layout") && config["layout"] == "shira") return AdapterLayout::kShira;
  const nlohmann::ordered_json type =
      config.contains("peft_type") ? config["peft_type"] : nlohmann::ordered_json();
  if (type == "SHIRA") return AdapterLayout::kPeftShira;
  if (type == "SUPERTUNING") return AdapterLayout::kPeftSuperTuning;
  if (type == "LORA") return AdapterLayout::kPeftLora;
  throw IoError(
      detail::concat((directory / detail::kPeftConfigName).string(), ": peft_type is ",
                     type.is_string() ? detail::quote(type.get<std::string>()) : "missing",
                     ", expected SHIRA, SUPERTUNING or LORA, or an adapter of ours "
                     "(\"layout\": \"shira\"). Merge another method's adapter in PEFT "
                     "(merge_and_unload) and use the merged checkpoint."));
}

std::string_view layout_name(AdapterLayout layout) {
  switch (layout) {
    case AdapterLayout::kShira: return "shira";
    case AdapterLayout::kPeftShira: return "PEFT SHiRA";
    case AdapterLayout::kPeftSuperTuning: return "PEFT Super-Tuning";
    case AdapterLayout::kPeftLora: return "PEFT LoRA";
  }
  return "";
}

}  // namespace shira
