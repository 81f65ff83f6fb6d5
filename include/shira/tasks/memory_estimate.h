// What a training run will hold in memory, before it starts.
#pragma once

#include <shira/base/export.h>
#include <shira/config/run_config.h>
#include <shira/models/llama.h>
#include <shira/tasks/diffusion_pipeline.h>

#include <cstdint>

namespace shira {

/// Bytes, approximately.
struct MemoryEstimate {
  double weights = 0.0;      // the model
  double training = 0.0;     // trained values, their gradients, optimiser state, positions
  double activations = 0.0;  // of one micro-batch, with its logits
  double cache = 0.0;        // latents of pictures
  double total() const { return weights + training + activations + cache; }
};

/// What a run trains.
struct TrainedSizes {
  std::int64_t trained = 0;         // parameters
  std::int64_t largest_target = 0;  // entries of the largest weight that is trained or adapted
  std::int64_t masked = 0;          // wm_dora: entries of the weights that its factors decide
  std::int64_t inputs = 0;          // features that all targets take of a token
  std::int64_t outputs = 0;         // features that they give
};

SHIRA_API MemoryEstimate estimate_memory(const RunConfig& config, const Llama& model,
                                         const TrainedSizes& sizes);

/// For a UNet on square pictures of the configured resolution, `cached` of them encoded once;
/// activations of the UNet alone.
SHIRA_API MemoryEstimate estimate_memory(const RunConfig& config, const DiffusionPipeline& pipeline,
                                         const TrainedSizes& sizes, std::int64_t cached);

}  // namespace shira
