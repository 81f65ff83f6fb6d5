// Training batches of a diffusion model: pictures as latents, captions as text states, and the
// noise that is drawn for them.
#pragma once

#include <shira/base/export.h>
#include <shira/data/batch_source.h>
#include <shira/data/image_loader.h>
#include <shira/models/autoencoder_kl.h>
#include <shira/tasks/diffusion_pipeline.h>

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace shira {

struct DiffusionDataOptions {
  std::uint64_t seed = 0;
  double noise_offset = 0.0;              // share of the noise that a channel has in common
  double proportion_empty_prompts = 0.0;  // of the captions
  bool cache_latents = false;  // encodes every picture once, with epoch 0's crop and flip
  bool gives_ids = false;      // "input_ids" instead of "context": the text encoders are trained
};

/// What DiffusionObjective reads, on the CPU. A batch draws from LibTorch's CPU generator, seeded
/// by PhiloxStream(seed, "noise of batch <number> of epoch <epoch>"), in this order: the latents'
/// standard normal values, the noise, the offsets (B, C, 1, 1) if any, the timesteps, which
/// captions are left out (uniform values below the share).
class SHIRA_API DiffusionData : public BatchSource {
 public:
  /// Both are borrowed or shared; with cache_latents every picture is encoded here.
  DiffusionData(DiffusionPipeline pipeline, ImageLoader loader,
                const DiffusionDataOptions& options);

  const ImageLoader& loader() const { return loader_; }
  std::int64_t batches_in_epoch(std::int64_t epoch) override;
  Batch batch(std::int64_t epoch, std::int64_t number) override;
  std::uint64_t fingerprint() const override;

 private:
  struct Encoded {
    LatentDistribution latents;  // of one picture, without the batch axis
    torch::Tensor sizes;         // (6): what SDXL is told of it
  };

  Encoded encode(std::int64_t sample, std::int64_t epoch);
  void fill_cache();
  void add_text(std::vector<std::string> captions, const torch::Tensor& is_empty, Batch& batch);
  PromptStates states_of(const std::string& caption);

  DiffusionPipeline pipeline_;
  ImageLoader loader_;
  DiffusionDataOptions options_;
  bool has_priors_ = false;
  std::map<std::int64_t, Encoded> latents_;     // by sample, where they are cached
  std::map<std::string, PromptStates> states_;  // by caption, as far as they fit
};

}  // namespace shira
