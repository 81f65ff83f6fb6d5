// A model on a CUDA device trains as it does on the CPU; where there is none these tests are
// skipped.
#include "models/tiny_llama.h"

#include <shira/methods/lora.h>
#include <shira/methods/packed_shira.h>
#include <shira/sparse/mask_builders.h>
#include <shira/tasks/causal_lm.h>
#include <shira/train/gradients.h>
#include <shira/train/optimizer.h>

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <torch/cuda.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

enum class CudaMethod { kShira, kLora, kDora };

struct CudaOutcome {
  std::vector<double> losses;
  std::vector<torch::Tensor> parameters;
};

std::unique_ptr<TrainingMethod> make_cuda_method(CudaMethod method, const Llama& model) {
  const auto targets = select_targets(*model, {"all-linear"});
  if (method == CudaMethod::kShira) {
    const MaskMap masks = build_masks(target_weights(targets), wm_mask({.density = 0.2}));
    return std::make_unique<PackedShira>(targets, masks);
  }
  return std::make_unique<LoraTraining>(
      targets, LoraOptions{.r = 2, .use_dora = method == CudaMethod::kDora});
}

/// Three steps of AdamW on packed samples.
CudaOutcome train_on(CudaMethod kind, torch::Device device, bool gradient_checkpointing) {
  at::manual_seed(7);
  Llama model = tiny_llama(torch::kFloat32);
  model->to(device);
  model->gradient_checkpointing = gradient_checkpointing;
  const auto method = make_cuda_method(kind, model);
  const auto optimizer = make_adamw(method->parameters(), {});
  CausalLmObjective objective(model);
  const torch::Tensor ids = at::arange(24, torch::kInt64).remainder(17).view({1, 24});
  Batch batch = {{"input_ids", ids}, {"labels", ids}, {"attention_mask", at::ones_like(ids)}};
  batch["cu_seqlens"] = at::tensor({0, 7, 24}, torch::kInt64);
  CudaOutcome outcome;
  for (int step = 0; step < 3; ++step) {
    clear_gradients(method->parameters());
    outcome.losses.push_back(add_gradients(objective, batch, objective.term_count(batch)));
    clip_gradients(method->parameters(), 1.0);
    optimizer->step(1e-2);
    method->publish();
  }
  for (const auto& [name, parameter] : method->parameters()) {
    EXPECT_EQ(parameter.device().type(), device.type());
    outcome.parameters.push_back(parameter.detach().cpu());
  }
  return outcome;
}

TEST(CudaTraining, EqualsTheCpusToRounding) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  for (const CudaMethod method : {CudaMethod::kShira, CudaMethod::kLora, CudaMethod::kDora}) {
    const CudaOutcome expected = train_on(method, torch::kCPU, false);
    for (const bool gradient_checkpointing : {false, true}) {
      const CudaOutcome got = train_on(method, torch::kCUDA, gradient_checkpointing);
      for (std::size_t i = 0; i < got.losses.size(); ++i) {
        EXPECT_NEAR(got.losses[i], expected.losses[i], 1e-4 * expected.losses[i]);
      }
      for (std::size_t i = 0; i < got.parameters.size(); ++i) {
        EXPECT_TRUE(at::allclose(got.parameters[i], expected.parameters[i], 1e-3, 1e-3)) << i;
      }
    }
  }
}

TEST(CudaTraining, TheAdapterHoldsTheTrainedWeightsBitForBit) {
  if (!torch::cuda::is_available()) GTEST_SKIP() << "no CUDA device";
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    Llama model = tiny_llama(dtype);
    const MaskMap masks = build_masks(target_weights(select_targets(*model, {"all-linear"})),
                                      rand_mask({.density = 0.2}, 1));
    model->to(torch::kCUDA);
    PackedShira shira(select_targets(*model, {"all-linear"}), masks);
    {
      torch::NoGradGuard no_grad;
      for (const auto& [name, values] : shira.parameters()) values.add_(1);
    }
    shira.publish();
    const SparseAdapter adapter = shira.extract();
    for (const auto& [name, weight] : target_weights(select_targets(*model, {"all-linear"}))) {
      const SparseTensor& tensor = adapter.tensors.at(name);
      EXPECT_TRUE(tensor.values.is_cpu() && tensor.mask.indices().is_cpu());
      EXPECT_TRUE(
          weight.cpu().flatten().index_select(0, tensor.mask.indices()).equal(tensor.values));
    }
  }
}

}  // namespace
}  // namespace shira
