// PEFT's LoRA and DoRA adapter directories, without LibTorch:
// `base_model.model.<module>.lora_A.weight` (r, in), `.lora_B.weight` (out, r), for DoRA
// `.lora_magnitude_vector` (out); for a convolution (r, in, kh, kw) and (out, r, 1, 1).
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
  std::optional<TensorView> magnitude;  // (out); DoRA
  double scaling = 1.0;                 // alpha / r, or alpha / sqrt(r) for rsLoRA
};

struct PeftLoraFile {
  std::string base_model;
  std::vector<PeftLoraTensor> tensors;  // by name; on the mapped file
};

/// Reads the configuration (r, lora_alpha, use_rslora, rank_pattern, alpha_pattern, use_dora) and
/// finds the tensors, F32, BF16 or F16. IoError names the file and the tensor, or all settings that
/// are not supported: biases, other trained modules, fan_in_fan_out, variants that change the base
/// or the sum; with the base's shapes, also for a layer that target_modules names and that has no
/// tensors. Values are not looked at.
SHIRA_API PeftLoraFile read_peft_lora_file(const std::filesystem::path& directory,
                                           const ParameterShapes* shapes = nullptr);

}  // namespace shira
