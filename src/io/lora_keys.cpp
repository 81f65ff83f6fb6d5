#include "lora_keys.h"

#include "adapted_modules.h"
#include "quote.h"

#include <shira/base/error.h>

#include <optional>
#include <string_view>
#include <utility>

namespace shira::detail {
namespace {

struct RoleRow {
  std::string_view ending;
  LoraRole role;
};

constexpr RoleRow kRoles[] = {
    {".lora_A.weight", LoraRole::kDown},
    {".lora_B.weight", LoraRole::kUp},
    {".lora_magnitude_vector", LoraRole::kMagnitude},
    {".lora.down.weight", LoraRole::kDown},
    {".lora.up.weight", LoraRole::kUp},
    {".lora_linear_layer.down.weight", LoraRole::kDown},
    {".lora_linear_layer.up.weight", LoraRole::kUp},
    {"_lora.down.weight", LoraRole::kDown},  // to_q_lora, to_k_lora, to_v_lora, to_out_lora
    {"_lora.up.weight", LoraRole::kUp},
    {".lora_down.weight", LoraRole::kDown},
    {".lora_up.weight", LoraRole::kUp},
    {".dora_scale", LoraRole::kDoraScale},
    {".alpha", LoraRole::kAlpha},
};

struct ComponentRow {
  std::string_view beginning;
  std::string_view component;
};

constexpr ComponentRow kUnderscored[] = {{"lora_unet_", "unet"},
                                         {"lora_te_", "text_encoder"},
                                         {"lora_te1_", "text_encoder"},
                                         {"lora_te2_", "text_encoder_2"}};

struct MethodRow {
  std::string_view part;
  std::string_view method;
};

/// Of what diffusion trainers save beside LoRA.
constexpr MethodRow kOtherMethods[] = {
    {".hada_", "LoHa"},
    {".lokr_", "LoKr"},
    {".oft_", "OFT"},
    {".lora_mid.", "LoCon with a CP decomposition (lora_mid)"},
    {".lora_embedding_", "LoRA of embeddings"},
    {"lora_controlnet", "Control-LoRA"},
    {".diff", "full differences (diff)"},
    {".bias", "biases"},
};

[[noreturn]] void throw_unknown(const std::string& name) {
  const std::string place = concat("tensor ", quote(name), ": ");
  for (const auto& [part, method] : kOtherMethods) {
    if (name.find(part) == name.npos) continue;
    throw IoError(concat(place, "is of ", method,
                         ", which is not supported. Merge the adapter into the pipeline with the "
                         "tool that made it, and use that pipeline."));
  }
  throw IoError(concat(place,
                       "is of no known LoRA layout, such as unet.<module>.lora_A.weight, "
                       "unet.<module>.lora.down.weight or lora_unet_<module>.lora_down.weight."));
}

const RoleRow& role_row(const std::string& name) {
  for (const RoleRow& row : kRoles) {
    if (name.size() > row.ending.size() && name.ends_with(row.ending)) return row;
  }
  throw_unknown(name);
}

/// "x.attn1.processor.to_out" is "x.attn1.to_out.0" of a UNet, and "x.self_attn.to_out"
/// "x.self_attn.out_proj" of a text encoder.
std::string of_attention_processor(std::string module, bool is_text) {
  constexpr std::string_view kProcessor = ".processor.";
  constexpr std::pair<std::string_view, std::string_view> kTextNames[] = {
      {".to_q", ".q_proj"}, {".to_k", ".k_proj"}, {".to_v", ".v_proj"}, {".to_out", ".out_proj"}};
  const std::size_t processor = module.find(kProcessor);
  if (processor != module.npos) module.replace(processor, kProcessor.size(), ".");
  for (const auto& [old_name, name] : kTextNames) {
    if (!is_text || !module.ends_with(old_name)) continue;
    return module.replace(module.size() - old_name.size(), old_name.size(), name);
  }
  return module.ends_with(".to_out") ? module + ".0" : module;
}

}  // namespace

LoraKey parse_lora_key(const std::string& name) {
  SHIRA_CHECK(IoError, !name.starts_with("base_model.model."), "tensor ", quote(name),
              ": is of a PEFT directory: give the directory, with its settings.");
  const auto& [ending, role] = role_row(name);
  std::string module = name.substr(0, name.size() - ending.size());
  for (const auto& [beginning, component] : kUnderscored) {
    if (!module.starts_with(beginning)) continue;
    return {std::string(component), module.substr(beginning.size()), true, role};
  }
  const std::string component = pipeline_component(module);
  if (!component.empty()) module.erase(0, component.size() + 1);
  return {component, of_attention_processor(module, component.starts_with("text_encoder")), false,
          role};
}

}  // namespace shira::detail
