// LoRA and DoRA adapters for inference: two thin factors a layer, merged into a weight as PEFT does
// (https://huggingface.co/papers/2106.09685, 2402.09353).
#pragma once

#include <shira/base/export.h>
#include <shira/io/parameter_shapes.h>

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace shira {

/// The adapted weight is base + scaling * B A; for DoRA each of its rows is then given the norm
/// `magnitude`.
struct LoraTensor {
  torch::Tensor a;          // (r, in), or (r, in, kh, kw) for a convolution
  torch::Tensor b;          // (out, r), or (out, r, 1, 1)
  double scaling = 1.0;     // alpha / r, or alpha / sqrt(r)
  torch::Tensor magnitude;  // DoRA: (out); undefined for LoRA
};

struct LoraAdapter {
  std::map<std::string, LoraTensor> tensors;  // by the base's parameter name
  std::string base_model;                     // path or name of the base, for people
  bool use_rslora = false;                    // how a file spells the scalings
  double dropout = 0.0;                       // only written: for those who train on in PEFT
};

/// Reads PEFT's LoRA or DoRA directory, or a LoRA file of a diffusers pipeline
/// (io/adapter_layout.h), into owned tensors. IoError as read_peft_lora_file and
/// read_diffusers_lora_file, and for values that are not finite. With the base's shapes, which
/// names may depend on, it is also checked that no target is missing.
SHIRA_API LoraAdapter load_lora_adapter(const std::filesystem::path& path,
                                        const ParameterShapes* base = nullptr);

/// Writes PEFT's LoRA or DoRA directory, made if absent, in float32; diffusers' where the tensors
/// are a pipeline's ("unet...."). Each file is replaced atomically. IoError where a value is not
/// finite. `task_type` as PEFT spells it ("CAUSAL_LM"), or empty.
SHIRA_API void save_lora_adapter(const std::filesystem::path& directory, const LoraAdapter& adapter,
                                 const std::string& task_type = "");

/// scale * (W' - base) in float32 (float64 for a float64 base), W' being the adapted weight: what
/// is added where other adapters act on the same weight. For LoRA the scaled product itself.
SHIRA_API torch::Tensor weight_change(const LoraTensor& lora, const torch::Tensor& base,
                                      double scale = 1.0);

/// The shape of the weight that the factors are for: (out, in) or (out, in, kh, kw).
SHIRA_API std::vector<std::int64_t> weight_shape(const LoraTensor& lora);

/// DoRA's norms (out): of the rows of base + scaling * B A, in float32 (float64 for a float64
/// base).
SHIRA_API torch::Tensor dora_norms(const LoraTensor& lora, const torch::Tensor& base);

/// The adapted weight in float32 (float64 for a float64 base), before it is rounded to the base's
/// dtype. `base` is (out, in) or (out, in, kh, kw); ShapeError otherwise, or where a value is not
/// finite.
SHIRA_API torch::Tensor adapted_weight(const LoraTensor& lora, const torch::Tensor& base,
                                       double scale = 1.0);

/// base + scale * (W' - base) in the base's dtype, where W' is the adapted weight: at scale 1 every
/// bit of what PEFT's merge gives on the same machine and thread count, at scale 0 the base's own.
SHIRA_API torch::Tensor merged_weight(const LoraTensor& lora, const torch::Tensor& base,
                                      double scale = 1.0);

}  // namespace shira
