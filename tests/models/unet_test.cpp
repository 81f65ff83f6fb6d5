// What cli/test_unet.py, which holds the UNet against diffusers, cannot see: checkpointing, plugs
// in its layers, other dtypes, inputs that do not fit.
#include "io/expect_error.h"
#include "models/gradients.h"
#include "models/tiny_unet.h"

#include <shira/base/error.h>
#include <shira/methods/packed_shira.h>
#include <shira/sparse/mask_builders.h>

#include <ATen/Context.h>
#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <functional>

namespace shira {
namespace {

/// Of every parameter and of the text, as when its encoder is trained too.
Gradients all_gradients(torch::ScalarType dtype, bool gradient_checkpointing) {
  at::manual_seed(3);
  Unet model = tiny_unet(tiny_unet_config(), dtype);
  model->gradient_checkpointing = gradient_checkpointing;
  require_gradients(*model);
  UnetInputs inputs = tiny_unet_inputs(2, dtype);
  inputs.conditions.context.set_requires_grad(true);
  run_unet(model, inputs).square().sum().backward();
  Gradients gradients = gradients_of(*model);
  gradients.emplace("context", inputs.conditions.context.grad());
  return gradients;
}

TEST(Unet, CheckpointingGivesTheSameGradientsBitForBit) {
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    const Gradients plain = all_gradients(dtype, false);
    const Gradients checkpointed = all_gradients(dtype, true);
    ASSERT_EQ(plain.size(), checkpointed.size());
    for (const auto& [name, gradient] : plain) {
      EXPECT_TRUE(checkpointed.at(name).equal(gradient)) << name << " " << dtype;
      EXPECT_GT(gradient.abs().max().item<double>(), 0.0) << name;
    }
  }
}

Gradients packed_gradients(Unet& model, const UnetInputs& inputs, const MaskMap& masks,
                           const std::vector<LayerTarget>& targets) {
  const PackedShira shira(targets, masks);
  run_unet(model, inputs).square().sum().backward();
  return gradients_of(shira);
}

TEST(Unet, PackedGradientsAreTheDenseOnesUnderTheMask) {
  at::manual_seed(4);
  Unet model = tiny_unet(tiny_unet_config());
  const UnetInputs inputs = tiny_unet_inputs();
  const auto targets = select_targets(
      *model, {"to_q", "to_out.0", "ff.net.0.proj", "conv1", "proj_in", "conv_in", "linear_1"});
  const MaskMap masks = build_masks(target_weights(targets), rand_mask({.density = 0.2}, 5));
  const Gradients packed = packed_gradients(model, inputs, masks, targets);
  model->gradient_checkpointing = true;
  const Gradients checkpointed = packed_gradients(model, inputs, masks, targets);

  for (const LayerTarget& target : targets) target.layer->weight.set_requires_grad(true);
  run_unet(model, inputs).square().sum().backward();
  ASSERT_EQ(packed.size(), targets.size());
  for (const LayerTarget& target : targets) {
    const std::string name = target.parameter_name();
    const torch::Tensor dense = target.layer->weight.grad().reshape({-1});
    const torch::Tensor expected = dense.index_select(0, masks.at(name).indices());
    EXPECT_TRUE(at::allclose(packed.at(name), expected, 1e-9, 1e-9)) << name;
    EXPECT_TRUE(checkpointed.at(name).equal(packed.at(name))) << name;
  }
}

TEST(Unet, TargetsAreNamedAsInDiffusers) {
  Unet model = tiny_unet(tiny_unet_config());
  const auto count = [&](const std::string& pattern) {
    return select_targets(*model, {pattern}).size();
  };
  // Transformer blocks: 1 + 2 on the way down, 1 in the middle, 4 on the way up, two attentions
  // each. Resnets: 2 + 2 + 4.
  EXPECT_EQ(count("to_q"), 16U);
  EXPECT_EQ(count("to_out.0"), 16U);
  EXPECT_EQ(count("attn2.to_k"), 8U);
  EXPECT_EQ(count("ff.net.0.proj"), 8U);
  EXPECT_EQ(count("ff.net.2"), 8U);
  EXPECT_EQ(count("conv1"), 8U);
  EXPECT_EQ(count("time_emb_proj"), 8U);
  EXPECT_EQ(count("proj_in"), 7U);  // convolutions here
  EXPECT_EQ(count("down_blocks.0.downsamplers.0.conv"), 1U);
  EXPECT_EQ(count("conv_in"), 1U);
  // Four projections for each attention, two for each feed-forward layer, one for each resnet, and
  // two for each of the two embeddings.
  EXPECT_EQ(count("all-linear"), 16U * 4U + 8U * 2U + 8U + 4U);
}

TEST(Unet, NarrowDtypesStayNearFloat32) {
  at::manual_seed(6);
  Unet model = tiny_unet(tiny_unet_config(), torch::kFloat32);
  UnetInputs inputs = tiny_unet_inputs(2, torch::kFloat32);
  torch::NoGradGuard no_grad;
  const torch::Tensor exact = run_unet(model, inputs);
  for (const auto dtype : {torch::kBFloat16, torch::kFloat16}) {
    model->to(dtype);
    const torch::Tensor narrow = run_unet(model, inputs);  // float32 inputs are cast
    EXPECT_EQ(narrow.scalar_type(), dtype);
    const double error = (narrow.to(torch::kFloat32) - exact).abs().max().item<double>();
    EXPECT_LT(error, 0.1 * exact.abs().max().item<double>()) << dtype;
    model->to(torch::kFloat32);
  }
}

TEST(Unet, OneTimestepServesTheWholeBatch) {
  Unet model = tiny_unet(tiny_unet_config());
  UnetInputs inputs = tiny_unet_inputs();
  inputs.timesteps = at::full({2}, 981, torch::kInt64);
  const torch::Tensor each = run_unet(model, inputs);
  for (const auto& one : {at::full({1}, 981, torch::kInt64), at::scalar_tensor(981.0)}) {
    inputs.timesteps = one;
    EXPECT_TRUE(run_unet(model, inputs).equal(each));
  }
}

TEST(Unet, InputsThatDoNotFitAreNamed) {
  Unet model = tiny_unet(tiny_unet_config());
  const auto expect_refusal = [&](const std::function<void(UnetInputs&)>& damage,
                                  std::initializer_list<std::string_view> words) {
    UnetInputs inputs = tiny_unet_inputs();
    damage(inputs);
    expect_error<ShapeError>([&] { run_unet(model, inputs); }, words);
  };
  expect_refusal([](auto& in) { in.sample = at::zeros({2, 3, 5, 3}); }, {"sample", "[2, 3, 5, 3]"});
  expect_refusal([](auto& in) { in.sample = at::zeros({4, 5, 3}); }, {"sample", "(B, 4, H, W)"});
  expect_refusal([](auto& in) { in.timesteps = at::zeros({3}); }, {"timesteps", "[3]"});
  expect_refusal([](auto& in) { in.conditions.context = at::zeros({2, 3, 7}); },
                 {"context", "(2, S, 6)", "[2, 3, 7]"});
  expect_refusal([](auto& in) { in.conditions.context = at::zeros({1, 3, 6}); }, {"context"});
  expect_refusal([](auto& in) { in.conditions.text_embeds.reset(); }, {"text_embeds nothing"});
  expect_refusal([](auto& in) { in.conditions.time_ids = at::zeros({2, 3}); },
                 {"P + 4 N = 13", "[2, 3]"});
  expect_refusal([](auto& in) { in.conditions.class_labels = at::zeros({2}); }, {"class_labels"});

  UnetConfig plain = tiny_unet_config();
  plain.addition_time_width = 0;
  plain.class_embedding = ClassEmbedding::kTable;
  plain.num_class_embeds = 4;
  model = tiny_unet(plain);
  expect_refusal([](auto&) {}, {"no text_embeds"});
  const auto with_label = [](std::int64_t label) {
    return [label](UnetInputs& in) {
      in.conditions.text_embeds.reset();
      in.conditions.time_ids.reset();
      in.conditions.class_labels = at::full({2}, label, torch::kInt64);
    };
  };
  expect_refusal(with_label(4), {"below 4"});
  expect_refusal(with_label(-1), {"below 4"});
}

}  // namespace
}  // namespace shira
