// Counted from what the layers save for backward.
#include <shira/nn/linear_cross_entropy.h>
#include <shira/nn/parameters.h>
#include <shira/tasks/memory_estimate.h>

#include <algorithm>

namespace shira {
namespace {

double entry_count(const torch::nn::Module& model) {
  double entries = 0.0;
  for (const auto& [name, tensor] : nn::unique_parameters(model)) {
    entries += static_cast<double>(tensor.numel());
  }
  return entries;
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

/// Bytes that a block keeps of each token: two norms' inputs and outputs, queries, keys, values and
/// result of the attention; gate, up and their product.
double layer_bytes(const LlamaConfig& config, double item) {
  return item * (8.0 * static_cast<double>(config.hidden_size) +
                 3.0 * static_cast<double>(config.intermediate_size));
}

/// Bytes that a block keeps of each token for LoRA's plugs, beside or instead of layer_bytes: a
/// float32 copy of a narrower input, or with dropout what it left and its mask, of each layer for
/// itself; for DoRA the sums whose rows are lengthened, with dropout the base's and the factors'
/// share of them.
double factor_bytes(const RunConfig& config, const LlamaConfig& model, const TrainedSizes& sizes,
                    double item) {
  if (config.adapter != "lora" && config.adapter != "dora") return 0.0;
  const auto layers = static_cast<double>(model.num_hidden_layers);
  const bool drops = config.lora_dropout > 0.0;
  const double output = config.adapter == "lora" ? 0.0 : drops ? 4.0 + item : 4.0;
  const double outputs = static_cast<double>(sizes.outputs) / layers * output;
  if (!drops && item == 4.0) return outputs;
  // The inputs themselves, which a block's layers share, are not kept then.
  const auto shared = static_cast<double>(3 * model.hidden_size + model.intermediate_size);
  return outputs + static_cast<double>(sizes.inputs) / layers * (drops ? 8.0 : 4.0) - shared * item;
}

/// Values that a UNet's level keeps of each place. A resnet: two norms' and two convolutions'
/// inputs and what goes into the activations. A transformer block: three norms' inputs and outputs,
/// two attentions' queries, keys, values and results, the gated layer's 8, 4 and 4 widths.
double level_values(const UnetBlockConfig& block, double inputs) {
  const auto width = static_cast<double>(block.channels);
  double values = static_cast<double>(block.resnets) * (3.0 * inputs + 4.0 * width);
  for (const std::int64_t layers : block.transformer_layers) {
    values += width * (4.0 + 30.0 * static_cast<double>(layers));
  }
  return values;
}

/// Values that a UNet keeps of a picture of `places` latent places.
double unet_values(const UnetConfig& config, double places) {
  double values = 0.0, here = places;
  for (const UnetBlockConfig& block : config.down_blocks) {
    values += here * level_values(block, static_cast<double>(block.channels));
    if (block.resamples) here /= 4.0;
  }
  values += here * level_values(config.mid_block, static_cast<double>(config.mid_block.channels));
  for (const UnetBlockConfig& block : config.up_blocks) {
    values += here * level_values(block, 2.0 * static_cast<double>(block.channels));
    if (block.resamples) here *= 4.0;
  }
  return values;
}

}  // namespace

MemoryEstimate estimate_memory(const RunConfig& config, const DiffusionPipeline& pipeline,
                               const TrainedSizes& sizes, std::int64_t cached) {
  const double entries = entry_count(*pipeline);
  const auto& weight = pipeline->unet->conv_in->weight;
  const auto item = static_cast<double>(config.adapter == "full" ? 4 : weight.element_size());
  const auto side =
      static_cast<double>(config.resolution) / static_cast<double>(pipeline->vae->config.factor());
  const auto rows =
      static_cast<double>(config.micro_batch_size) * (config.with_prior_preservation ? 2.0 : 1.0);
  const double kept = rows * item * unet_values(pipeline->unet->config, side * side);
  const auto blocks = static_cast<double>(2 * pipeline->unet->config.down_blocks.size() + 1);
  // Means and logarithms of the variances, float32.
  const double latents =
      8.0 * side * side * static_cast<double>(pipeline->vae->config.latent_channels);
  return {.weights = entries * item,
          .training = training_bytes(config, sizes, entries),
          .activations = config.gradient_checkpointing ? 2.0 * kept / blocks : kept,
          .cache = latents * static_cast<double>(cached)};
}

MemoryEstimate estimate_memory(const RunConfig& config, const Llama& model,
                               const TrainedSizes& sizes) {
  const double entries = entry_count(*model);
  // Full training is in float32, whatever the checkpoint's dtype.
  const auto item =
      static_cast<double>(config.adapter == "full" ? 4 : model->model->norm->weight.element_size());
  const double tokens = static_cast<double>(config.micro_batch_size * config.sequence_len);
  const double logits = std::min(tokens, static_cast<double>(nn::kCrossEntropyRows)) *
                        static_cast<double>(model->config.vocab_size);
  const auto layers = static_cast<double>(model->config.num_hidden_layers);
  const double block =
      layer_bytes(model->config, item) + factor_bytes(config, model->config, sizes, item);
  const double kept = config.gradient_checkpointing
                          ? layers * item * static_cast<double>(model->config.hidden_size) + block
                          : layers * block;
  // One block more: its gradients, while backward is in it.
  return {.weights = entries * item,
          .training = training_bytes(config, sizes, entries),
          .activations = tokens * (kept + block) + item * logits};
}

}  // namespace shira
