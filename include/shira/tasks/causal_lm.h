// Causal language modelling: the objective, and a run's parts built from its configuration.
#pragma once

#include <shira/base/export.h>
#include <shira/config/run_config.h>
#include <shira/data/dataset.h>
#include <shira/data/tokenizer.h>
#include <shira/methods/training_method.h>
#include <shira/models/llama.h>
#include <shira/train/objective.h>
#include <shira/train/optimizer.h>
#include <shira/train/trainer.h>

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace shira {

/// Next-token cross-entropy: position t predicts label t + 1, kIgnoreLabel carries no loss.
class SHIRA_API CausalLmObjective : public Objective {
 public:
  explicit CausalLmObjective(Llama model) : model_(std::move(model)) {}

  torch::Tensor loss_sum(const Batch& batch) override;
  std::int64_t term_count(const Batch& batch) const override;
  /// Tokens that are not padding.
  std::int64_t item_count(const Batch& batch) const override;

 private:
  Llama model_;
};

/// Error when the tokenizer can give ids that the model does not have.
SHIRA_API void check_tokenizer(const Llama& model, const Tokenizer& tokenizer);

/// The sum of next-token losses of `logits` (B, T, vocabulary) against `labels` (B, T), in at least
/// float32.
SHIRA_API torch::Tensor next_token_loss_sum(const torch::Tensor& logits,
                                            const torch::Tensor& labels);

/// "float32", "bfloat16", "float16" to a dtype; nothing for "auto". ConfigError otherwise.
SHIRA_API std::optional<torch::ScalarType> parse_base_dtype(const std::string& name);

/// The base model of a run, with its weights owned where the run writes them: float32 for full
/// training.
SHIRA_API Llama load_base(const RunConfig& config);

/// A run's method: the plugs on `model`, and what saves the result into a directory (an adapter, or
/// a checkpoint with base_dtype's weights for full training).
struct CausalLmMethod {
  std::unique_ptr<TrainingMethod> method;
  std::function<void(const std::filesystem::path&)> save_result;
  std::int64_t trained = 0;  // parameters
  std::int64_t total = 0;
};

/// `resume_from`: the checkpoint whose masks are taken instead of built ones; its base checksums
/// must fit `model`.
SHIRA_API CausalLmMethod make_method(const RunConfig& config, const Llama& model,
                                     const std::optional<std::filesystem::path>& resume_from);

SHIRA_API std::unique_ptr<Optimizer> make_optimizer(const RunConfig& config,
                                                    const TrainingMethod& method);

SHIRA_API TrainerOptions trainer_options(const RunConfig& config, bool resume);

/// All samples of the configured data sets, split.
SHIRA_API DatasetSplit load_datasets(const RunConfig& config, const Tokenizer& tokenizer);

}  // namespace shira
