// PEFT's LoRA and DoRA adapter directories, without LibTorch:
// `base_model.model.<module>.lora_A.weight` (r, in), `.lora_B.weight` (out, r), for DoRA
// `.lora_magnitude_vector` (out); for a convolution (r, in, kh, kw), (out, r, 1, 1) and
// (1, out, 1, 1).
#pragma once

#include <shira/base/export.h>
#include <shira/io/parameter_shapes.h>
#include <shira/io/safetensors.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace shira {

struct PeftLoraTensor {
  std::string name;                     // of the parameter: "<module>.weight"
  TensorView a;                         // (r, in) or (r, in, kh, kw)
  TensorView b;                         // (out, r) or (out, r, 1, 1)
  std::optional<TensorView> magnitude;  // (out) or (1, out, 1, 1); DoRA
  double scaling = 1.0;                 // alpha / r, or alpha / sqrt(r) for rsLoRA
};

struct PeftLoraFile {
  std::string base_model;
  std::vector<PeftLoraTensor> tensors;  // by name; on the mapped file
  bool use_rslora = false;
  double dropout = 0.0;  // only written: for those who train on in PEFT
};

/// Reads the configuration (r, lora_alpha, use_rslora, rank_pattern, alpha_pattern, use_dora) and
/// finds the tensors, F32, BF16 or F16. IoError names the file and the tensor, or all settings that
/// are not supported: biases, other trained modules, fan_in_fan_out, variants that change the base
/// or the sum; with the base's shapes, also for a layer that target_modules names and that has no
/// tensors. Values are not looked at.
SHIRA_API PeftLoraFile read_peft_lora_file(const std::filesystem::path& directory,
                                           const ParameterShapes* shapes = nullptr);

/// Writes what PEFT opens and read_peft_lora_file reads: adapter_model.safetensors, then
/// adapter_config.json, each atomically. r and lora_alpha are the first tensor's; others have
/// theirs in rank_pattern and alpha_pattern. DoRA where the tensors have magnitudes, all of them or
/// none. `task_type` as PEFT spells it ("CAUSAL_LM"), or empty.
SHIRA_API void write_peft_lora_file(const std::filesystem::path& directory,
                                    const PeftLoraFile& file, const std::string& task_type);

}  // namespace shira
