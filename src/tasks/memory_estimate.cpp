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

/// Values, gradients and moments in float32. Packed values are copies with int32 positions;
/// WM-DoRA's entries have their originals, sums, values and positions, and one layer's two dense
/// gradients.
double training_bytes(const RunConfig& config, const TrainedSizes& sizes, double model_entries) {
  const auto trained = static_cast<double>(sizes.trained);
  const double layer = 4.0 * static_cast<double>(sizes.largest_target);
  const double moments = config.optimizer == "adamw" ? 8.0 : 0.0;
  if (config.adapter == "full") return trained * (4.0 + moments);
  const double factors = trained * (4.0 + 4.0 + moments);
  if (config.adapter == "wm_dora") {
    return factors + static_cast<double>(sizes.masked) * 32.0 + 2.0 * layer;
  }
  if (config.adapter != "shira") return factors;
  if (config.shira_training == "hooks") return model_entries * (4.0 + moments + 1.0);
  return factors + trained * 4.0;
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

/// Bytes of each token that LoRA's plugs keep beside or instead of what a block keeps: a float32
/// copy of a narrower input, or with dropout what it left and its mask, of each layer for itself;
/// for DoRA the sums whose rows are lengthened, with dropout the base's and the factors' share of
/// them.
double factor_bytes(const RunConfig& config, const LlamaConfig& model, const TrainedSizes& sizes,
                    double item) {
  if (config.adapter != "lora" && config.adapter != "dora") return 0.0;
  const bool drops = config.lora_dropout > 0.0;
  const double output = config.adapter == "lora" ? 0.0 : drops ? 4.0 + item : 4.0;
  const double outputs = static_cast<double>(sizes.outputs) * output;
  if (!drops && item == 4.0) return outputs;
  // The inputs themselves, which a block's layers share, are not kept then.
  const auto shared = static_cast<double>(3 * model.hidden_size + model.intermediate_size);
  const auto layers = static_cast<double>(model.num_hidden_layers);
  return outputs + static_cast<double>(sizes.inputs) * (drops ? 8.0 : 4.0) - layers * shared * item;
}

}  // namespace

MemoryEstimate estimate_memory(const RunConfig& config, const Llama& model,
                               const TrainedSizes& sizes) {
  const double weights = weight_bytes(model);
  const auto item = static_cast<double>(model->model->norm->weight.element_size());
  const double tokens = static_cast<double>(config.micro_batch_size * config.sequence_len);
  const double logits = std::min(tokens, static_cast<double>(nn::kCrossEntropyRows)) *
                        static_cast<double>(model->config.vocab_size);
  // One block more: its gradients, while backward is in it.
  const double blocks = kept_entries(config, model->config) + block_entries(model->config);
  return {.weights = weights,
          .training = training_bytes(config, sizes, weights / item),
          .activations = item * (tokens * blocks + logits) +
                         tokens * factor_bytes(config, model->config, sizes, item)};
}

}  // namespace shira
