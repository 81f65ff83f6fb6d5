// What a training run will hold in memory, before it starts.
#pragma once

#include <shira/base/export.h>
#include <shira/config/run_config.h>
#include <shira/models/llama.h>

#include <cstdint>

namespace shira {

/// Bytes, approximately.
struct MemoryEstimate {
  double weights = 0.0;      // the model
  double training = 0.0;     // trained values, their gradients, optimiser state, positions
  double activations = 0.0;  // of one micro-batch, with its logits
  double total() const { return weights + training + activations; }
};

/// For a run that trains `trained` parameters of `model`, whose largest target weight has
/// `largest_target` entries.
SHIRA_API MemoryEstimate estimate_memory(const RunConfig& config, const Llama& model,
                                         std::int64_t trained, std::int64_t largest_target);

}  // namespace shira
