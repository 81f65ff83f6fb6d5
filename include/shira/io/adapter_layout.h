// Which kind of adapter a directory or file holds, read off its adapter_config.json or its name.
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
  kDiffusersLora,    // LoRA of a diffusers pipeline (diffusers_lora_file.h)
};

/// Of a directory with an adapter_config.json, or with a pytorch_lora_weights.safetensors instead,
/// or of a .safetensors file, which is then kDiffusersLora. IoError when it is none of these, when
/// adapter_config.json is no JSON object, or for an adapter of another method.
SHIRA_API AdapterLayout adapter_layout(const std::filesystem::path& path);

/// Whether it is LoRA or DoRA, of either layout.
SHIRA_API bool is_lora_layout(AdapterLayout layout);

/// "shira", "PEFT SHiRA", ...: for people.
SHIRA_API std::string_view layout_name(AdapterLayout layout);

}  // namespace shira
