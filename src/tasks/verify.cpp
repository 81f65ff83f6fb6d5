// The reference's loss is the mean over predicted tokens, as transformers computes it.
#include "reference_state.h"

#include <shira/base/error.h>
#include <shira/methods/full_training.h>
#include <shira/tasks/causal_lm.h>
#include <shira/tasks/verify.h>

#include <ATen/Functions.h>

#include <algorithm>

namespace shira {
namespace {

using detail::ReferenceState;

void check_like_ids(const ReferenceState& reference, const char* name, const torch::Tensor& tensor,
                    const torch::Tensor& ids, const torch::Tensor& allowed) {
  SHIRA_CHECK(IoError, tensor.sizes() == ids.sizes(), reference.path(), ": ", name,
              " must have input_ids' shape ", ids.sizes(), ". Got ", tensor.sizes(), ".");
  SHIRA_CHECK(IoError, allowed.all().item<bool>(), reference.path(), ": ", name,
              " holds values that this model cannot take.");
}

/// The inputs, checked to be ids of the model's vocabulary.
Batch read_token_batch(const ReferenceState& reference, const Llama& model) {
  const torch::Tensor ids = reference.require_integers("input_ids");
  SHIRA_CHECK(IoError, ids.dim() == 2 && ids.numel() > 0 && ids.size(1) >= 2, reference.path(),
              ": input_ids must be (B, T) with T >= 2. Got ", ids.sizes(), ".");
  SHIRA_CHECK(IoError,
              ids.min().item<std::int64_t>() >= 0 &&
                  ids.max().item<std::int64_t>() < model->config.vocab_size,
              reference.path(), ": input_ids outside the model's vocabulary of ",
              model->config.vocab_size, ".");
  const auto mask = reference.has("attention_mask") ? reference.require_integers("attention_mask")
                                                    : at::ones_like(ids);
  const auto labels = reference.has("labels") ? reference.require_integers("labels")
                                              : ids.masked_fill(mask == 0, kIgnoreLabel);
  check_like_ids(reference, "attention_mask", mask, ids, (mask == 0).logical_or(mask == 1));
  check_like_ids(reference, "labels", labels, ids,
                 (labels == kIgnoreLabel)
                     .logical_or((labels >= 0).logical_and(labels < model->config.vocab_size)));
  SHIRA_CHECK(IoError, mask.any().item<bool>(), reference.path(),
              ": attention_mask is 0 everywhere.");
  return {{"input_ids", ids}, {"labels", labels}, {"attention_mask", mask}};
}

/// Both sides where attention_mask is 1.
void compare_logits(const torch::Tensor& logits, const torch::Tensor& reference,
                    const torch::Tensor& mask, detail::Comparison& comparison) {
  SHIRA_CHECK(IoError, logits.sizes() == reference.sizes(), "logits: the reference has shape ",
              reference.sizes(), ", the model ", logits.sizes(), ".");
  const torch::Tensor rows = mask.to(torch::kBool).unsqueeze(-1);
  comparison.add("logits", logits.detach().masked_select(rows), reference.masked_select(rows));
}

}  // namespace

VerifyReport verify(Llama& model, const std::filesystem::path& path, double tolerance) {
  const ReferenceState reference(path);
  const Batch batch = read_token_batch(reference, model);
  FullTraining training(*model);
  const torch::Tensor hidden = model->hidden(batch.at("input_ids"));
  const torch::Tensor logits = model->logits(hidden.detach());
  CausalLmObjective objective(model);
  const auto terms = std::max<std::int64_t>(objective.term_count(batch), 1);
  const torch::Tensor loss =
      next_token_loss_sum(model, hidden, batch.at("labels")) / static_cast<double>(terms);
  loss.backward();

  detail::Comparison comparison(reference, tolerance);
  if (reference.has("logits")) {
    compare_logits(logits, reference.require("logits"), batch.at("attention_mask"), comparison);
  }
  comparison.add_loss(loss);
  comparison.add_gradients(training.parameters());
  return comparison.report();
}

}  // namespace shira
