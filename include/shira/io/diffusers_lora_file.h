// LoRA and DoRA files of Stable Diffusion pipelines, without LibTorch: those of diffusers, present
// and older, and those of kohya's scripts (https://github.com/kohya-ss/sd-scripts), all of which
// diffusers' load_lora_weights reads.
#pragma once

#include <shira/base/export.h>
#include <shira/io/parameter_shapes.h>
#include <shira/io/peft_lora_file.h>

#include <filesystem>

namespace shira {

/// The name of the file in a directory that diffusers' save_lora_weights writes.
inline constexpr const char* kDiffusersLoraName = "pytorch_lora_weights.safetensors";

/// Reads a .safetensors file, or pytorch_lora_weights.safetensors of a directory. Tensors get the
/// names of a pipeline's parameters, "unet.<module>.weight" (checkpoint_files.h), and the base's
/// shapes: what kohya's scripts call "lora_unet_down_blocks_0_..." or
/// "lora_unet_input_blocks_4_..." is looked up among the base's own names. Without the base's
/// shapes names stay the file's own, underscores and all. alpha is in the header
/// (lora_adapter_metadata) or a tensor, and r where it is in neither. IoError names the file and
/// the tensor, or lists all that the base does not have or has in another shape; another method's
/// tensors (LoHa, LoKr, ...) and unknown ones are refused.
SHIRA_API PeftLoraFile read_diffusers_lora_file(const std::filesystem::path& path,
                                                const ParameterShapes* shapes = nullptr);

/// Whether the tensors are a pipeline's: at least one, and all of them "unet.", "text_encoder." or
/// "text_encoder_2.".
SHIRA_API bool is_pipeline_lora(const PeftLoraFile& file);

/// Writes pytorch_lora_weights.safetensors atomically, with the settings in its header, as
/// diffusers' load_lora_weights and read_diffusers_lora_file read it. The tensors are a pipeline's;
/// IoError where a component has magnitudes (DoRA) for some of them only.
SHIRA_API void write_diffusers_lora_file(const std::filesystem::path& directory,
                                         const PeftLoraFile& file);

}  // namespace shira
