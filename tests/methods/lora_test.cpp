// LoRA and DoRA by hand and by finite differences; tests/cli/test_lora.py holds them against PEFT.
#include "io/expect_error.h"
#include "io/temporary_directory.h"

#include <shira/base/error.h>
#include <shira/kernels/philox.h>
#include <shira/methods/lora.h>
#include <shira/nn/linear.h>

#include <torch/torch.h>

#include <gtest/gtest.h>

#include <functional>

namespace shira {
namespace {

using torch::Tensor;

struct OneLayer : torch::nn::Module {
  explicit OneLayer(Tensor weight, Tensor bias = {}) {
    layer = register_module("layer", nn::Linear(std::move(weight), std::move(bias)));
  }
  nn::Linear layer{nullptr};
};

LoraAdapter adapter_of(LoraTensor factors) {
  LoraAdapter adapter;
  adapter.tensors.emplace("layer.weight", std::move(factors));
  return adapter;
}

/// B A = [[1, 2], [3, 6]], scaling 0.5.
LoraTensor half_of_rank_one() {
  return {torch::tensor({{1.0f, 2.0f}}), torch::tensor({{1.0f}, {3.0f}}), 0.5, {}};
}

Tensor grad_of(const LoraTraining& lora, std::size_t i) {
  return lora.parameters().at(i).second.grad();
}

TEST(Lora, AddsTheScaledProductBesideTheFrozenWeight) {
  OneLayer model(torch::tensor({{1.0f, 0.0f}, {0.0f, 2.0f}}), torch::tensor({10.0f, 20.0f}));
  const LoraTraining lora(model, adapter_of(half_of_rank_one()));
  const Tensor x = torch::ones({1, 2}).requires_grad_();
  const Tensor y = model.layer->forward(x);
  EXPECT_TRUE(y.equal(torch::tensor({{12.5f, 26.5f}})));  // W x + b + 0.5 * 3 * (1, 3)
  y.sum().backward();
  EXPECT_TRUE(grad_of(lora, 0).equal(torch::tensor({{2.0f, 2.0f}})));
  EXPECT_TRUE(grad_of(lora, 1).equal(torch::tensor({{1.5f}, {1.5f}})));
  EXPECT_TRUE(x.grad().equal(torch::tensor({{3.0f, 6.0f}})));
  EXPECT_FALSE(model.layer->weight.grad().defined());
}

TEST(Lora, DoraGivesTheRowsTheirMagnitudes) {
  LoraTensor factors = half_of_rank_one();
  factors.magnitude = torch::tensor({10.0f, 1.0f});
  // With half of the product: rows (3, 4) and (0, 1).
  OneLayer model(torch::tensor({{2.5f, 3.0f}, {-1.5f, -2.0f}}), torch::tensor({10.0f, 20.0f}));
  const LoraTraining lora(model, adapter_of(factors));
  const Tensor y = model.layer->forward(torch::ones({1, 2}));
  EXPECT_TRUE(y.allclose(torch::tensor({{10.0f + 14.0f, 20.0f + 1.0f}})));
  y.sum().backward();
  EXPECT_TRUE(grad_of(lora, 2).allclose(torch::tensor({7.0f / 5.0f, 1.0f})));
  EXPECT_TRUE(grad_of(lora, 1).allclose(torch::tensor({{2.0f * 1.5f}, {1.5f}})));
}

class LoraKinds : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(LoraAndDora, LoraKinds, ::testing::Bool());

/// Factors in float64 that are not those of a start.
LoraTensor random_factors(std::int64_t out, std::int64_t in, bool use_dora) {
  const auto wide = torch::kFloat64;
  LoraTensor factors{torch::randn({2, in}, wide), torch::randn({out, 2}, wide), 0.7, {}};
  if (use_dora) factors.magnitude = torch::rand({out}, wide) + 0.5;
  return factors;
}

/// (f(x + h) - f(x - h)) / 2h for each entry of `x`, which f reads.
Tensor finite_differences(const Tensor& x, const std::function<double()>& f) {
  torch::NoGradGuard no_grad;
  constexpr double kStep = 1e-6;
  Tensor result = torch::zeros_like(x);
  auto *entry = x.mutable_data_ptr<double>(), *out = result.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const double kept = entry[i];
    entry[i] = kept + kStep;
    const double above = f();
    entry[i] = kept - kStep;
    out[i] = (above - f()) / (2 * kStep);
    entry[i] = kept;
  }
  return result;
}

// DoRA's norms are constants in backward: publish() alone renews them.
TEST_P(LoraKinds, GradientsAreFiniteDifferences) {
  torch::manual_seed(1);
  OneLayer model(torch::randn({4, 5}, torch::kFloat64), torch::randn({4}, torch::kFloat64));
  const LoraTraining lora(model, adapter_of(random_factors(4, 5, GetParam())));
  const Tensor x = torch::randn({2, 3, 5}, torch::kFloat64).requires_grad_();
  const auto loss = [&] { return model.layer->forward(x).tanh().square().sum(); };
  loss().backward();
  auto leaves = lora.parameters();
  leaves.emplace_back("input", x);
  ASSERT_EQ(leaves.size(), GetParam() ? 4U : 3U);
  for (const auto& [name, leaf] : leaves) {
    const Tensor expected = finite_differences(leaf, [&] { return loss().item<double>(); });
    EXPECT_TRUE(torch::allclose(leaf.grad(), expected, 1e-7, 1e-8)) << name;
  }
}

TEST_P(LoraKinds, ActsAsTheMergedWeightDoes) {
  const Tensor weight = torch::randn({4, 5}, torch::kFloat64);
  OneLayer model(weight.clone());
  const LoraTensor factors = random_factors(4, 5, GetParam());
  LoraTraining lora(model, adapter_of(factors));
  const Tensor x = torch::randn({3, 5}, torch::kFloat64);
  EXPECT_TRUE(model.layer->forward(x).allclose(torch::linear(x, adapted_weight(factors, weight))));
  {
    torch::NoGradGuard no_grad;
    for (const auto& [name, parameter] : lora.parameters()) parameter.mul_(1.3);
  }
  lora.publish();
  const LoraTensor moved = lora.extract().tensors.at("layer.weight");
  EXPECT_TRUE(moved.a.allclose(factors.a * 1.3));
  EXPECT_TRUE(model.layer->forward(x).allclose(torch::linear(x, adapted_weight(moved, weight))));
}

TEST_P(LoraKinds, StartsAsTheBaseAndLeavesItAsItWas) {
  OneLayer model(torch::randn({4, 5}).to(torch::kBFloat16));
  const Tensor x = torch::randn({3, 5}).to(torch::kBFloat16);
  const Tensor before = model.layer->forward(x);
  {
    const LoraTraining lora(select_targets(model, {"layer"}), {.r = 2, .use_dora = GetParam()});
    EXPECT_TRUE(model.layer->forward(x).equal(before));
    for (const auto& [name, parameter] : lora.parameters()) {
      EXPECT_EQ(parameter.scalar_type(), torch::kFloat32);
      EXPECT_TRUE(parameter.is_leaf() && parameter.requires_grad());
    }
    EXPECT_EQ(model.layer->forward(x).scalar_type(), torch::kBFloat16);
  }
  EXPECT_EQ(model.layer->plug, nullptr);
}

TEST_P(LoraKinds, ASumOfABfloat16BaseIsRoundedOnce) {
  torch::manual_seed(2);
  OneLayer narrow(torch::randn({4, 5}).to(torch::kBFloat16));
  OneLayer wide(narrow.layer->weight.to(torch::kFloat32));
  const LoraAdapter adapter = adapter_of(random_factors(4, 5, GetParam()));
  const LoraTraining of_narrow(narrow, adapter), of_wide(wide, adapter);
  const Tensor x = torch::randn({7, 5}).to(torch::kBFloat16);
  const Tensor expected = wide.layer->forward(x.to(torch::kFloat32));
  // The base's product is rounded to bfloat16, and the sum: half a unit in the last place each.
  const Tensor bound = (expected.abs() + 4.0) * 0x1p-7;
  EXPECT_TRUE(((narrow.layer->forward(x) - expected).abs() <= bound).all().item<bool>());
}

// --- Dropout ------------------------------------------------------------------------------------

TEST(LoraDropout, ZeroesHalfOfTheInputAndDoublesTheRest) {
  OneLayer model(torch::zeros({1, 1}));
  LoraTraining lora(model, adapter_of({torch::ones({1, 1}), torch::ones({1, 1}), 1.0, {}}), 0.5);
  constexpr std::int64_t kRows = 100000;
  const Tensor x = torch::ones({kRows, 1});
  EXPECT_TRUE(model.layer->forward(x).equal(x)) << "off unless training";
  lora.set_training(true);
  torch::manual_seed(3);
  const Tensor y = model.layer->forward(x);
  EXPECT_TRUE(((y == 0) | (y == 2)).all().item<bool>());
  EXPECT_NEAR(y.mean().item<double>(), 1.0, 0.02);  // six standard deviations
  EXPECT_NEAR(y.var().item<double>(), 1.0, 0.02);
  torch::manual_seed(3);
  EXPECT_TRUE(model.layer->forward(x).equal(y)) << "LibTorch's generator decides";
  lora.set_training(false);
  EXPECT_TRUE(model.layer->forward(x).equal(x));
}

TEST(LoraDropout, OfDoraLeavesTheBasesOwnShare) {
  OneLayer model(torch::ones({1, 1}));
  const LoraTensor factors{torch::zeros({1, 1}), torch::zeros({1, 1}), 1.0, torch::tensor({3.0f})};
  LoraTraining lora(model, adapter_of(factors), 0.5);
  lora.set_training(true);
  const Tensor y = model.layer->forward(torch::ones({1000, 1}));
  // x + (3 - 1) * drop(x), as in PEFT
  EXPECT_TRUE(((y == 1) | (y == 5)).all().item<bool>());
  EXPECT_GT((y == 1).sum().item<std::int64_t>(), 400);
  EXPECT_GT((y == 5).sum().item<std::int64_t>(), 400);
}

// --- The start ----------------------------------------------------------------------------------

TEST(LoraStart, IsUniformAsPeftHasIt) {
  const Tensor weight = torch::randn({6, 400});
  const LoraTensor factors = initial_factors("layer.weight", weight, {.r = 100, .use_dora = true});
  constexpr double kBound = 1.0 / 20.0;  // 1 / sqrt(in)
  EXPECT_EQ(factors.a.sizes(), (std::vector<std::int64_t>{100, 400}));
  EXPECT_LE(factors.a.abs().max().item<double>(), kBound);
  EXPECT_GT(factors.a.abs().max().item<double>(), 0.999 * kBound);
  const double deviation = kBound / std::sqrt(3.0);
  EXPECT_NEAR(factors.a.mean().item<double>(), 0.0, 6 * deviation / 200);
  EXPECT_NEAR(factors.a.std().item<double>(), deviation, 0.02 * deviation);
  EXPECT_TRUE(factors.b.equal(torch::zeros({6, 100})));
  EXPECT_TRUE(factors.magnitude.allclose(weight.norm(2, 1)));
  EXPECT_EQ(factors.scaling, 8.0 / 100.0);
}

TEST(LoraStart, IsAFunctionOfSeedAndName) {
  const Tensor weight = torch::zeros({6, 4});
  const auto a = [&](const char* name, std::uint64_t seed) {
    return initial_factors(name, weight, {.seed = seed}).a;
  };
  EXPECT_TRUE(a("x.weight", 1).equal(a("x.weight", 1)));
  EXPECT_FALSE(a("x.weight", 1).equal(a("y.weight", 1)));
  EXPECT_FALSE(a("x.weight", 1).equal(a("x.weight", 2)));
  PhiloxStream stream(1, "x.weight.lora_A");
  EXPECT_EQ(a("x.weight", 1)[0][0].item<float>(), static_cast<float>(stream.next_double() - 0.5));
}

TEST(LoraStart, OfRsloraScalesByTheRoot) {
  const LoraTensor factors =
      initial_factors("x", torch::zeros({6, 4}), {.r = 4, .alpha = 6.0, .use_rslora = true});
  EXPECT_EQ(factors.scaling, 3.0);
}

// --- Files and refusals -------------------------------------------------------------------------

TEST(Lora, IsSavedAndGoesOnAsItWas) {
  const TemporaryDirectory directory;
  OneLayer model(torch::randn({4, 6}));
  const LoraTraining lora(select_targets(model, {"layer"}),
                          {.r = 3, .alpha = 0.1, .use_rslora = true, .use_dora = true});
  const LoraAdapter before = lora.extract();
  save_lora_adapter(directory.path(), before);
  const LoraAdapter after = load_lora_adapter(directory.path());
  EXPECT_TRUE(after.use_rslora);
  const LoraTensor &a = before.tensors.at("layer.weight"), &b = after.tensors.at("layer.weight");
  EXPECT_EQ(a.scaling, b.scaling);
  EXPECT_TRUE(a.a.equal(b.a) && a.b.equal(b.b) && a.magnitude.equal(b.magnitude));
}

TEST(Lora, RefusesAFloat16Base) {
  OneLayer model(torch::zeros({4, 5}, torch::kFloat16));
  expect_error<ConfigError>([&] { LoraTraining(select_targets(model, {"layer"}), {}); },
                            {"float16", "base_dtype", "bfloat16"});
  EXPECT_EQ(model.layer->plug, nullptr);
}

TEST(Lora, OfDoraRefusesARowOfZeros) {
  Tensor weight = torch::ones({4, 5});
  weight[2].zero_();
  OneLayer model(weight);
  const auto train = [&](bool use_dora) {
    LoraTraining(select_targets(model, {"layer"}), {.use_dora = use_dora});
  };
  train(false);
  expect_error<ConfigError>([&] { train(true); }, {"layer.weight", "row 2", "adapter: lora"});
}

TEST(Lora, RefusesFactorsOfAnotherModel) {
  OneLayer model(torch::zeros({2, 3}));
  expect_error<ShapeError>([&] { LoraTraining(model, adapter_of(half_of_rank_one())); },
                           {"layer.weight", "[2, 3]", "[2, 2]"});
  LoraAdapter adapter;
  adapter.tensors.emplace("head.weight", half_of_rank_one());
  expect_error<ConfigError>([&] { LoraTraining(model, adapter); }, {"head.weight"});
}

}  // namespace
}  // namespace shira
