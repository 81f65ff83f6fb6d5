// The names that LoRA files of diffusion models give to their tensors, taken apart. The layouts are
// those that diffusers reads (loaders/lora_conversion_utils.py, utils/state_dict_utils.py).
#pragma once

#include <string>

namespace shira::detail {

enum class LoraRole {
  kDown,       // A
  kUp,         // B
  kMagnitude,  // of DoRA, as PEFT has it
  kDoraScale,  // of DoRA, as kohya's and LyCORIS's scripts have it
  kAlpha,      // a number
};

struct LoraKey {
  std::string component;  // "unet", "text_encoder", ...; empty where the name does not say
  std::string module;     // "mid_block.attentions.0.proj_in", or with "_" for every "."
  bool is_underscored;    // a name as kohya's scripts make it
  LoraRole role;
};

/// Takes a tensor's name apart:
///   unet.<module>.lora_A.weight, .lora_B.weight, .lora_magnitude_vector: diffusers since 0.26
///   unet.<module>.lora.down.weight, .lora.up.weight, and .lora_linear_layer. of text encoders
///   unet.<attention>.processor.to_q_lora.down.weight, text_encoder.<attention>.to_q_lora.
///   lora_unet_<module with underscores>.lora_down.weight, .lora_up.weight, .dora_scale: kohya
/// and for any of them .alpha. IoError for another name, saying of which method it is if it is
/// known (LoHa, LoKr, ...).
LoraKey parse_lora_key(const std::string& name);

}  // namespace shira::detail
