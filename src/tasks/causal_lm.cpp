// The loss of a language model, in sums, so that padding and accumulation weigh every token alike.
#include <shira/base/error.h>
#include <shira/data/dataset.h>
#include <shira/nn/checkpoint.h>
#include <shira/nn/linear_cross_entropy.h>
#include <shira/tasks/batch_layout.h>
#include <shira/tasks/causal_lm.h>

#include <ATen/Functions.h>

namespace shira {

void check_tokenizer(const Llama& model, const Tokenizer& tokenizer) {
  SHIRA_CHECK(Error, tokenizer.vocab_size() <= model->config.vocab_size, "the tokenizer has ",
              tokenizer.vocab_size(), " pieces, the model a vocabulary of ",
              model->config.vocab_size, ": they do not belong together.");
}

namespace {

/// For a head that is trained itself: the logits are made twice, a chunk at a time, rather than
/// kept.
torch::Tensor trained_head_loss_sum(Llama& model, const torch::Tensor& rows,
                                    const torch::Tensor& targets) {
  const auto wide = at::promote_types(rows.scalar_type(), torch::kFloat32);
  torch::Tensor sum = at::zeros({}, rows.options().dtype(wide));
  const std::vector<torch::Tensor> chunks = rows.split(nn::kCrossEntropyRows);
  const std::vector<torch::Tensor> chunk_targets = targets.split(nn::kCrossEntropyRows);
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const auto loss = [model, wide, target = chunk_targets[i]](const torch::Tensor& chunk) mutable {
      return at::cross_entropy_loss(model->logits(chunk).to(wide), target, /*weight=*/{},
                                    at::Reduction::Sum);
    };
    sum = sum + nn::checkpoint(loss, chunks[i]);
  }
  return sum;
}

}  // namespace

torch::Tensor next_token_loss_sum(Llama& model, const torch::Tensor& hidden,
                                  const torch::Tensor& labels) {
  const std::int64_t predictions = labels.size(1) - 1;
  const torch::Tensor targets = labels.narrow(1, 1, predictions).flatten();
  const torch::Tensor counted = (targets != kIgnoreLabel).nonzero().squeeze(1);
  const torch::Tensor rows =
      hidden.narrow(1, 0, predictions).flatten(0, 1).index_select(0, counted.to(hidden.device()));
  const torch::Tensor counted_targets = targets.index_select(0, counted).to(hidden.device());
  const nn::Linear& head = model->lm_head;
  if (!head->plug && !head->weight.requires_grad() && !head->bias.defined()) {
    return nn::linear_cross_entropy(rows, head->weight, counted_targets);
  }
  return trained_head_loss_sum(model, rows, counted_targets);
}

torch::Tensor CausalLmObjective::loss_sum(const Batch& batch) {
  const torch::Tensor hidden =
      model_->hidden(batch.at("input_ids"), /*cache=*/nullptr, layout_of(batch));
  return next_token_loss_sum(model_, hidden, batch.at("labels"));
}

std::int64_t CausalLmObjective::term_count(const Batch& batch) const {
  const torch::Tensor& labels = batch.at("labels");
  return (labels.narrow(1, 1, labels.size(1) - 1) != kIgnoreLabel).sum().item<std::int64_t>();
}

std::int64_t CausalLmObjective::item_count(const Batch& batch) const {
  return batch.at("attention_mask").sum().item<std::int64_t>();
}

}  // namespace shira
