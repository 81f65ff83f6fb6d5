// Counted from what the layers save for backward.
#include <shira/nn/linear_cross_entropy.h>
#include <shira/nn/parameters.h>
#include <shira/tasks/memory_estimate.h>

#include <algorithm>

namespace shira {
namespace {

double weight_bytes(const Llama& model) {
  double bytes = 0.0;
  for (const auto& [name, tensor] : nn::unique_parameters(*model)) {
    bytes += static_cast<double>(tensor.nbytes());
  }
  return bytes;
}

/// Values (packed ones are copies), gradients and moments in float32, int32 positions; of the dense
/// gradients one layer's at a time when packed, else all.
double training_bytes(const RunConfig& config, double trained, double model_entries,
                      double largest_target) {
  const double moments = config.optimizer == "adamw" ? 8.0 : 0.0;
  if (config.adapter == "full") return trained * (4.0 + moments);
  if (config.shira_training == "hooks") return model_entries * (4.0 + moments + 1.0);
  return trained * (4.0 + 4.0 + 4.0 + moments) + largest_target * 4.0;
}

/// Entries that a block keeps of each token: two norms' inputs and outputs, queries, keys, values
/// and result of the attention; gate, up and their product.
double block_entries(const LlamaConfig& config) {
  return 8.0 * static_cast<double>(config.hidden_size) +
         3.0 * static_cast<double>(config.intermediate_size);
}

/// Entries that all blocks keep of each token.
double kept_entries(const RunConfig& config, const LlamaConfig& model) {
  const auto layers = static_cast<double>(model.num_hidden_layers);
  if (!config.gradient_checkpointing) return layers * block_entries(model);
  return layers * static_cast<double>(model.hidden_size) + block_entries(model);
}

}  // namespace

MemoryEstimate estimate_memory(const RunConfig& config, const Llama& model, std::int64_t trained,
                               std::int64_t largest_target) {
  const double weights = weight_bytes(model);
  const auto item = static_cast<double>(model->model->norm->weight.element_size());
  const double tokens = static_cast<double>(config.micro_batch_size * config.sequence_len);
  const double logits = std::min(tokens, static_cast<double>(nn::kCrossEntropyRows)) *
                        static_cast<double>(model->config.vocab_size);
  return {
      .weights = weights,
      .training = training_bytes(config, static_cast<double>(trained), weights / item,
                                 static_cast<double>(largest_target)),
      // One block more: its gradients, while backward is in it.
      .activations =
          item *
          (tokens * (kept_entries(config, model->config) + block_entries(model->config)) + logits)};
}

}  // namespace shira
