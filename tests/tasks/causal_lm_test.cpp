// The loss of a language model's hidden states, whichever way its head computes it.
#include "models/tiny_llama.h"

#include <shira/data/dataset.h>
#include <shira/tasks/causal_lm.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <memory>

namespace shira {
namespace {

/// A plug that does what the layer would.
class PlainPlug : public nn::LayerPlug {
 public:
  torch::Tensor forward(const torch::Tensor& input, const nn::Layer& layer) override {
    return layer.apply(input, layer.weight);
  }
};

/// The loss and the gradient for the hidden states.
struct Outcome {
  double loss;
  torch::Tensor grad;
};

Outcome outcome_of(Llama& model, const torch::Tensor& hidden, const torch::Tensor& labels) {
  const torch::Tensor states = hidden.clone().requires_grad_();
  const torch::Tensor loss = next_token_loss_sum(model, states, labels);
  loss.backward();
  return {loss.item<double>(), states.grad()};
}

/// The same model with a frozen head, a plugged one and a trained one.
std::vector<Outcome> outcomes(Llama& model, const torch::Tensor& hidden,
                              const torch::Tensor& labels) {
  std::vector<Outcome> all = {outcome_of(model, hidden, labels)};
  model->lm_head->plug = std::make_shared<PlainPlug>();
  all.push_back(outcome_of(model, hidden, labels));
  model->lm_head->plug = nullptr;
  model->lm_head->weight.set_requires_grad(true);
  all.push_back(outcome_of(model, hidden, labels));
  return all;
}

TEST(NextTokenLossSum, CountsTheLabelsThatAreNotIgnored) {
  Llama model = tiny_llama();
  const torch::Tensor hidden = at::randn({2, 5, 12}, torch::kFloat64);
  torch::Tensor labels = random_ids(2, 5);
  labels[0].slice(0, 0, 3).fill_(kIgnoreLabel);
  labels[1][4] = kIgnoreLabel;
  const torch::Tensor log_probabilities = model->logits(hidden).log_softmax(-1);
  double expected = 0.0;
  for (const auto& [row, place] : {std::pair{0, 3}, {0, 4}, {1, 1}, {1, 2}, {1, 3}}) {
    const auto label = labels[row][place].item<std::int64_t>();
    expected -= log_probabilities[row][place - 1][label].item<double>();
  }
  for (const Outcome& outcome : outcomes(model, hidden, labels)) {
    EXPECT_NEAR(outcome.loss, expected, 1e-12 * expected);
    const torch::Tensor has_grad = (outcome.grad != 0).any(-1);
    EXPECT_TRUE(has_grad[0].equal(at::tensor({0, 0, 1, 1, 0}).to(torch::kBool)));
    EXPECT_TRUE(has_grad[1].equal(at::tensor({1, 1, 1, 0, 0}).to(torch::kBool)));
  }
}

TEST(NextTokenLossSum, IsTheSameByAFrozenAPluggedAndATrainedHead) {
  Llama model = tiny_llama();
  const torch::Tensor hidden = at::randn({3, 150, 12}, torch::kFloat64);  // two chunks of rows
  torch::Tensor labels = random_ids(3, 150);
  labels.masked_fill_(at::rand({3, 150}) < 0.3, kIgnoreLabel);
  const std::vector<Outcome> all = outcomes(model, hidden, labels);
  for (const Outcome& outcome : all) {
    EXPECT_NEAR(outcome.loss, all[0].loss, 1e-12 * all[0].loss);
    EXPECT_TRUE(nearly_equal(outcome.grad, all[0].grad));
  }
  EXPECT_GT(all[0].grad.abs().max().item<double>(), 0.01);
  EXPECT_TRUE(model->lm_head->weight.grad().defined());
}

TEST(NextTokenLossSum, IsZeroWhereNoLabelCounts) {
  for (const torch::Tensor& labels :
       {at::full({2, 5}, kIgnoreLabel, torch::kInt64), random_ids(2, 1) /* nothing follows */}) {
    Llama model = tiny_llama();
    const torch::Tensor hidden = at::randn({2, labels.size(1), 12}, torch::kFloat64);
    for (const Outcome& outcome : outcomes(model, hidden, labels)) {
      EXPECT_EQ(outcome.loss, 0.0);
      EXPECT_TRUE(outcome.grad.equal(at::zeros_like(hidden)));
    }
  }
}

}  // namespace
}  // namespace shira
