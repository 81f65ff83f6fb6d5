// Which kind of adapter a directory holds, read off its adapter_config.json.
#pragma once

#include <shira/base/export.h>

#include <filesystem>
#include <string_view>

namespace shira {

enum class AdapterLayout {
  kShira,            // ours (adapter_file.h)
  kPeftShira,        // PEFT's SHiRA (peft_sparse_file.h)
  kPeftSuperTuning,  // PEFT's Super-Tuning (peft_sparse_file.h)
  kPeftLora,         // PEFT's LoRA and its variants (peft_lora_file.h)
};

/// IoError when there is no adapter_config.json, when it is no JSON object, or for an adapter of
/// another method.
SHIRA_API AdapterLayout adapter_layout(const std::filesystem::path& directory);

/// "shira", "PEFT SHiRA", ...: for people.
SHIRA_API std::string_view layout_name(AdapterLayout layout);

}  // namespace shira
