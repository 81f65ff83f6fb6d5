// A diffusers pipeline of Stable Diffusion 1, 2 or XL: its models, tokenizers and noise.
#pragma once

#include <shira/base/export.h>
#include <shira/models/autoencoder_kl.h>
#include <shira/models/clip_text.h>
#include <shira/models/load_options.h>
#include <shira/models/unet.h>
#include <shira/tasks/scheduler_config.h>
#include <shira/text/prompt_tokenizer.h>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace shira {

/// Prompts as a UNet reads them.
struct PromptStates {
  torch::Tensor context;  // (B, S, width)
  torch::Tensor pooled;   // (B, P); undefined but for SDXL
};

/// Parameters are named by component: "unet.down_blocks.0...", "text_encoder.text_model...", as
/// CheckpointFiles has a pipeline's tensors.
class SHIRA_API DiffusionPipelineImpl : public torch::nn::Module {
 public:
  /// Loads a directory with model_index.json. Names that `options.writable` gets begin with the
  /// component; the autoencoder is float32 where its config says force_upcast. IoError or
  /// ConfigError as the components' loaders have it, and for a pipeline of another kind.
  DiffusionPipelineImpl(const std::filesystem::path& directory, const LoadOptions& options);

  at::Device device() const { return unet->device(); }
  /// Two text encoders, their second last states, a pooled text and sizes: SDXL.
  bool is_xl() const { return text_encoders.size() == 2; }
  /// (B, S) int64 for each text encoder.
  std::vector<torch::Tensor> tokenize(const std::vector<std::string>& prompts) const;
  /// What the text encoders make of `ids`, of tokenize.
  PromptStates encode(const std::vector<torch::Tensor>& ids);
  /// (channels, height, width) of the latents of a picture of so many pixels; 0 pixels: the size
  /// that the UNet was trained for. ConfigError for a size that is no multiple of the
  /// autoencoder's factor.
  std::vector<std::int64_t> latent_shape(std::int64_t height, std::int64_t width) const;

  /// A module that has the parts which a run may train: the UNet, and the text encoders if asked
  /// for, without what no picture depends on (SDXL does not look at its first text encoder's last
  /// layer).
  std::shared_ptr<torch::nn::Module> trained_parts(bool with_text_encoders) const;

  Unet unet{nullptr};
  AutoencoderKl vae{nullptr};
  std::vector<ClipText> text_encoders;
  std::vector<PromptTokenizer> tokenizers;
  SchedulerConfig scheduler;
  /// SDXL: without a negative prompt guidance starts from zeros instead of an empty prompt.
  bool force_zeros_for_empty_prompt = false;
};
TORCH_MODULE(DiffusionPipeline);

/// Writes the pipeline into an existing directory: the UNet, and with `with_text_encoders` the text
/// encoders, with their weights as they are, in `dtype` (default: the files'); everything else
/// copied from `base`, the directory it was loaded from.
SHIRA_API void save_pipeline(const std::filesystem::path& directory,
                             const DiffusionPipeline& pipeline, bool with_text_encoders,
                             const std::filesystem::path& base,
                             std::optional<torch::ScalarType> dtype = {});

}  // namespace shira
