// The loss of a packed batch against the losses of its samples.
#include "io/expect_error.h"
#include "models/tiny_llama.h"

#include <shira/base/error.h>
#include <shira/data/dataset.h>
#include <shira/nn/parameters.h>
#include <shira/tasks/batch_layout.h>
#include <shira/tasks/causal_lm.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

/// Loss sum of `batch`; the gradients are added to the model's.
double back_propagate(Llama& model, const Batch& batch) {
  const torch::Tensor loss = CausalLmObjective(model).loss_sum(batch);
  loss.backward();
  return loss.item<double>();
}

TEST(LayoutOf, APackedBatchHasTheLossAndGradientsOfItsSamplesAlone) {
  Llama alone = tiny_llama();
  Llama packed(alone->config, [&](const std::string& name, at::IntArrayRef) {
    return alone->named_parameters()[name].detach().clone();
  });
  for (const Llama& model : {alone, packed}) {
    for (torch::Tensor& weight : model->parameters()) weight.requires_grad_();
  }
  const torch::Tensor ids = random_ids(1, 9);
  torch::Tensor labels = ids.clone();
  for (const std::int64_t first : {0, 4, 5}) labels[0][first] = kIgnoreLabel;
  const Batch batch = {{"input_ids", ids},
                       {"labels", labels},
                       {"cu_seqlens", at::tensor({0, 4, 5, 9}, torch::kInt64)}};
  double expected = 0.0;
  for (const auto& [begin, length] : {std::pair{0, 4}, {4, 1}, {5, 4}}) {
    expected += back_propagate(alone, {{"input_ids", ids.narrow(1, begin, length)},
                                       {"labels", labels.narrow(1, begin, length)}});
  }
  EXPECT_NEAR(back_propagate(packed, batch), expected, 1e-12 * expected);
  for (const auto& [name, weight] : nn::unique_parameters(*packed)) {
    EXPECT_TRUE(nearly_equal(weight.grad(), alone->named_parameters()[name].grad())) << name;
  }
}

TEST(LayoutOf, CuSeqlensOfAnotherKindAreRefused) {
  for (const auto& wrong : {at::zeros({2}), at::zeros({2, 2}, torch::kInt64)}) {
    expect_error<ShapeError>([&] { layout_of({{"cu_seqlens", wrong}}); }, {"int64 vector"});
  }
}

}  // namespace
}  // namespace shira
