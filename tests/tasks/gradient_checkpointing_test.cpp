// A LLaMA computes the same with gradient_checkpointing as without, to the bit.
#include "models/tiny_llama.h"

#include <shira/methods/packed_shira.h>
#include <shira/sparse/mask_builders.h>
#include <shira/tasks/causal_lm.h>

#include <ATen/Context.h>
#include <ATen/Functions.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

struct LossAndGrads {
  torch::Tensor loss;
  std::vector<torch::Tensor> grads;
};

LossAndGrads compute(torch::ScalarType dtype, const Batch& batch,
                     const std::vector<std::string>& targets, bool gradient_checkpointing) {
  at::manual_seed(7);
  Llama model = tiny_llama(dtype);
  model->gradient_checkpointing = gradient_checkpointing;
  auto layers = select_targets(*model, targets);
  PackedShira method(layers, build_masks(target_weights(layers), rand_mask({.density = 0.2}, 1)));
  CausalLmObjective objective(model);
  LossAndGrads result{objective.loss_sum(batch), {}};
  result.loss.backward();
  for (const auto& [name, parameter] : method.parameters()) {
    result.grads.push_back(parameter.grad());
  }
  return result;
}

TEST(GradientCheckpointing, GivesTheSameBits) {
  const torch::Tensor ids = at::arange(24, torch::kInt64).remainder(17).view({1, 24});
  const Batch rows = {{"input_ids", ids.view({2, 12})},
                      {"labels", ids.view({2, 12})},
                      {"attention_mask", at::ones({2, 12}, torch::kInt64)}};
  Batch packed = {{"input_ids", ids}, {"labels", ids}, {"attention_mask", at::ones_like(ids)}};
  packed["cu_seqlens"] = at::tensor({0, 7, 24}, torch::kInt64);
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    for (const Batch& batch : {rows, packed}) {
      for (const auto& targets : std::vector<std::vector<std::string>>{
               {"all-linear"}, {"all-linear", "lm_head"}, {"layers.1.mlp.up_proj"}}) {
        const LossAndGrads plain = compute(dtype, batch, targets, false);
        const LossAndGrads checkpointed = compute(dtype, batch, targets, true);
        EXPECT_TRUE(checkpointed.loss.equal(plain.loss));
        ASSERT_EQ(checkpointed.grads.size(), plain.grads.size());
        for (std::size_t i = 0; i < plain.grads.size(); ++i) {
          EXPECT_TRUE(checkpointed.grads[i].equal(plain.grads[i])) << i << " of " << targets;
          EXPECT_GT(plain.grads[i].abs().max().item<double>(), 0.0);
        }
      }
    }
  }
}

}  // namespace
}  // namespace shira
