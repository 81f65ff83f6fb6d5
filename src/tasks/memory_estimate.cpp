// Counted from what the layers save for backward; the loss is usually the peak.
#include <shira/nn/parameters.h>
#include <shira/tasks/memory_estimate.h>

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
/// and result of the attention, the output projection's input; gate, its activation, up and
/// product.
double block_entries(const LlamaConfig& config) {
  return 9.0 * static_cast<double>(config.hidden_size) +
         4.0 * static_cast<double>(config.intermediate_size);
}

}  // namespace

MemoryEstimate estimate_memory(const RunConfig& config, const Llama& model, std::int64_t trained,
                               std::int64_t largest_target) {
  const double weights = weight_bytes(model);
  const auto item = static_cast<double>(model->model->norm->weight.element_size());
  const double tokens = static_cast<double>(config.micro_batch_size * config.sequence_len);
  const double layers = static_cast<double>(model->config.num_hidden_layers);
  // Logits in the model's dtype; in float32 their log-softmax and two gradients.
  const double loss = static_cast<double>(model->config.vocab_size) * (item + 12.0);
  return {.weights = weights,
          .training = training_bytes(config, static_cast<double>(trained), weights / item,
                                     static_cast<double>(largest_target)),
          // One block more: its gradients, while backward is in it.
          .activations = tokens * ((layers + 1.0) * block_entries(model->config) * item + loss)};
}

}  // namespace shira
