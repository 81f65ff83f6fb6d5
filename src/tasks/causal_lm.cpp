// The loss of a language model, in sums, so that padding and accumulation weigh every token alike.
#include <shira/base/error.h>
#include <shira/data/dataset.h>
#include <shira/tasks/batch_layout.h>
#include <shira/tasks/causal_lm.h>

#include <ATen/Functions.h>

namespace shira {

void check_tokenizer(const Llama& model, const Tokenizer& tokenizer) {
  SHIRA_CHECK(Error, tokenizer.vocab_size() <= model->config.vocab_size, "the tokenizer has ",
              tokenizer.vocab_size(), " pieces, the model a vocabulary of ",
              model->config.vocab_size, ": they do not belong together.");
}

torch::Tensor next_token_loss_sum(const torch::Tensor& logits, const torch::Tensor& labels) {
  const std::int64_t predictions = labels.size(1) - 1;
  const auto wide = at::promote_types(logits.scalar_type(), torch::kFloat32);
  const torch::Tensor flat = logits.narrow(1, 0, predictions).to(wide).flatten(0, 1);
  return at::cross_entropy_loss(flat, labels.narrow(1, 1, predictions).flatten(),
                                /*weight=*/{}, at::Reduction::Sum, kIgnoreLabel);
}

torch::Tensor CausalLmObjective::loss_sum(const Batch& batch) {
  const torch::Tensor hidden =
      model_->hidden(batch.at("input_ids"), /*cache=*/nullptr, layout_of(batch));
  return next_token_loss_sum(model_->logits(hidden), batch.at("labels"));
}

std::int64_t CausalLmObjective::term_count(const Batch& batch) const {
  const torch::Tensor& labels = batch.at("labels");
  return (labels.narrow(1, 1, labels.size(1) - 1) != kIgnoreLabel).sum().item<std::int64_t>();
}

std::int64_t CausalLmObjective::item_count(const Batch& batch) const {
  return batch.at("attention_mask").sum().item<std::int64_t>();
}

}  // namespace shira
