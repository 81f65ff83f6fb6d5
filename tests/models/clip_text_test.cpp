// What cli/test_clip_and_vae.py, which holds the text encoders against transformers, cannot see:
// checkpointing bit for bit, plugs in its layers, other dtypes.
#include "models/gradients.h"

#include <shira/methods/packed_shira.h>
#include <shira/models/clip_text.h>
#include <shira/sparse/mask_builders.h>

#include <ATen/Context.h>
#include <ATen/Functions.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

ClipText tiny_clip(torch::ScalarType dtype = torch::kFloat64) {
  at::manual_seed(3);
  const ClipTextConfig config{.vocab_size = 20,
                              .hidden_size = 12,
                              .intermediate_size = 16,
                              .num_hidden_layers = 3,
                              .num_attention_heads = 3,
                              .max_position_embeddings = 7,
                              .eos_token_id = 19,
                              .projection_dim = 5};
  const auto random = [dtype](const std::string&, at::IntArrayRef shape) {
    return (at::randn(shape, torch::kFloat64) * 0.4).to(dtype);
  };
  return ClipText(config, random, "text_model.");
}

/// Of two rows of five tokens. The penultimate state is left out: the last layer and the loss would
/// both add to its gradient, in an order that checkpointing changes.
torch::Tensor clip_loss(ClipText& model) {
  const torch::Tensor ids = at::arange(10, torch::kInt64).reshape({2, 5}) + 10;
  const ClipTextStates states = model->forward(ids);
  return states.last.square().sum() + states.pooled.square().sum();
}

Gradients clip_gradients(torch::ScalarType dtype, bool gradient_checkpointing) {
  ClipText model = tiny_clip(dtype);
  model->gradient_checkpointing = gradient_checkpointing;
  require_gradients(*model);
  clip_loss(model).backward();
  return gradients_of(*model);
}

TEST(ClipText, CheckpointingGivesTheSameGradientsBitForBit) {
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    const Gradients plain = clip_gradients(dtype, false);
    const Gradients checkpointed = clip_gradients(dtype, true);
    ASSERT_EQ(plain.size(), checkpointed.size());
    for (const auto& [name, gradient] : plain) {
      EXPECT_TRUE(checkpointed.at(name).equal(gradient)) << name << " " << dtype;
    }
  }
}

Gradients packed_clip_gradients(ClipText& model, const MaskMap& masks,
                                const std::vector<LayerTarget>& targets) {
  const PackedShira shira(targets, masks);
  clip_loss(model).backward();
  return gradients_of(shira);
}

TEST(ClipText, PackedGradientsAreTheDenseOnesUnderTheMask) {
  ClipText model = tiny_clip();
  const auto targets = select_targets(*model, {"q_proj", "v_proj", "out_proj", "fc1", "fc2"});
  ASSERT_EQ(targets.size(), 15U);
  const MaskMap masks = build_masks(target_weights(targets), rand_mask({.density = 0.2}, 5));
  const Gradients packed = packed_clip_gradients(model, masks, targets);
  model->gradient_checkpointing = true;
  const Gradients checkpointed = packed_clip_gradients(model, masks, targets);

  for (const LayerTarget& target : targets) target.layer->weight.set_requires_grad(true);
  clip_loss(model).backward();
  for (const LayerTarget& target : targets) {
    const std::string name = target.parameter_name();
    const torch::Tensor dense = target.layer->weight.grad().reshape({-1});
    const torch::Tensor expected = dense.index_select(0, masks.at(name).indices());
    EXPECT_TRUE(at::allclose(packed.at(name), expected, 1e-9, 1e-9)) << name;
    EXPECT_TRUE(checkpointed.at(name).equal(packed.at(name))) << name;
  }
}

TEST(ClipText, NarrowDtypesStayNearFloat32) {
  torch::NoGradGuard no_grad;
  ClipText model = tiny_clip(torch::kFloat32);
  const torch::Tensor ids = at::arange(10, torch::kInt64).reshape({2, 5}) + 10;
  const torch::Tensor exact = model->forward(ids).pooled;
  for (const auto dtype : {torch::kBFloat16, torch::kFloat16}) {
    model->to(dtype);
    const torch::Tensor narrow = model->forward(ids).pooled;
    EXPECT_EQ(narrow.scalar_type(), dtype);
    const double error = (narrow.to(torch::kFloat32) - exact).abs().max().item<double>();
    EXPECT_LT(error, 0.1 * exact.abs().max().item<double>()) << dtype;
    model->to(torch::kFloat32);
  }
}

}  // namespace
}  // namespace shira
