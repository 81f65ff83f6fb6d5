// Causal language modelling: the objective.
#pragma once

#include <shira/base/export.h>
#include <shira/models/llama.h>
#include <shira/text/tokenizer.h>
#include <shira/train/objective.h>

#include <torch/types.h>

#include <cstdint>

namespace shira {

/// Next-token cross-entropy: position t predicts label t + 1, kIgnoreLabel carries no loss. Samples
/// that a batch packs into one row ("cu_seqlens") do not see each other.
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

/// The sum of next-token losses that the model's head makes of `hidden` (B, T, hidden_size) against
/// `labels` (B, T), in at least float32. Positions without loss do not reach the head.
SHIRA_API torch::Tensor next_token_loss_sum(Llama& model, const torch::Tensor& hidden,
                                            const torch::Tensor& labels);

}  // namespace shira
