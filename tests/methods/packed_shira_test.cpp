// Packed training against ordinary autograd on the dense weight.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/methods/packed_shira.h>
#include <shira/nn/linear.h>
#include <shira/sparse/mask_builders.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

/// Two layers, so that the first one's gradient has to pass through the second one's plug.
struct TwoLayers : torch::nn::Module {
  explicit TwoLayers(torch::ScalarType dtype) {
    first = register_module("first", nn::Linear(at::randn({6, 5}, dtype), at::randn({6}, dtype)));
    second = register_module("second", nn::Linear(at::randn({4, 6}, dtype)));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return second->forward(first->forward(x).tanh());
  }

  nn::Linear first{nullptr}, second{nullptr};
};

PackedShira plug(const TwoLayers& model, double density = 0.3) {
  auto targets = select_targets(model, {"all-linear"});
  const MaskMap masks = build_masks(target_weights(targets), rand_mask({density}, 3));
  return PackedShira(std::move(targets), masks);
}

TEST(PackedShira, GradientsAreThoseOfTheDenseWeightUnderTheMask) {
  TwoLayers model(torch::kFloat64);
  const torch::Tensor x = at::randn({3, 7, 5}, torch::kFloat64);
  const torch::Tensor first = model.first->weight.clone().requires_grad_();
  const torch::Tensor second = model.second->weight.clone().requires_grad_();
  at::linear(at::linear(x, first, model.first->bias).tanh(), second).square().sum().backward();

  const PackedShira shira = plug(model);
  model.forward(x).square().sum().backward();
  const auto parameters = shira.parameters();
  const SparseAdapter adapter = shira.extract();
  const auto expect_same = [&](std::size_t i, const torch::Tensor& dense) {
    const auto& indices = adapter.tensors.at(parameters[i].first).mask.indices();
    const torch::Tensor expected = dense.grad().reshape({-1}).index_select(0, indices);
    EXPECT_TRUE(at::allclose(parameters[i].second.grad(), expected, 1e-12, 1e-12));
  };
  expect_same(0, first);
  expect_same(1, second);
}

TEST(PackedShira, TrainsOnlyTheMaskedEntriesAndExportsThemBitForBit) {
  TwoLayers model(torch::kBFloat16);
  const torch::Tensor before = model.first->weight.clone();
  PackedShira shira = plug(model);
  for (const auto& [name, values] : shira.parameters()) {
    torch::NoGradGuard no_grad;
    values.add_(0.37);
  }
  shira.publish();
  const SparseTensor tensor = shira.extract().tensors.at("first.weight");
  const torch::Tensor outside = tensor.mask.to_dense().logical_not();
  EXPECT_TRUE(model.first->weight.masked_select(outside).equal(before.masked_select(outside)));
  EXPECT_TRUE(model.first->weight.masked_select(tensor.mask.to_dense()).equal(tensor.values));
  EXPECT_FALSE(tensor.values.equal(before.masked_select(tensor.mask.to_dense())));
}

TEST(PackedShira, KeepsFloat32ValuesOfABfloat16Base) {
  TwoLayers model(torch::kBFloat16);
  const PackedShira shira = plug(model);
  model.forward(at::randn({2, 5}).to(torch::kBFloat16)).sum().backward();
  for (const auto& [name, values] : shira.parameters()) {
    EXPECT_EQ(values.scalar_type(), torch::kFloat32);
    EXPECT_EQ(values.grad().scalar_type(), torch::kFloat32);
  }
}

TEST(PackedShira, AWeightScatteredBetweenForwardAndBackwardRaises) {
  TwoLayers model(torch::kFloat32);
  PackedShira shira = plug(model);
  const torch::Tensor loss = model.forward(at::randn({2, 5})).sum();
  shira.publish();
  EXPECT_THROW(loss.backward(), std::exception);
}

TEST(PackedShira, RefusesAFloat16Base) {
  TwoLayers model(torch::kFloat16);
  expect_error<ConfigError>([&] { plug(model); }, {"float16", "base_dtype", "bfloat16"});
}

TEST(SelectTargets, MatchesSuffixesAndNamesWhatThereIs) {
  TwoLayers model(torch::kFloat32);
  const auto targets = select_targets(model, {"second"});
  ASSERT_EQ(targets.size(), 1U);
  EXPECT_EQ(targets[0].name, "second");
  expect_error<ConfigError>([&] { select_targets(model, {"third"}); }, {"third", "first, second"});
}

TEST(SelectTargets, RefusesATiedWeightNamingBoth) {
  struct Tied : TwoLayers {
    Tied() : TwoLayers(torch::kFloat32) {
      lm_head = register_module("lm_head", nn::Linear(second->weight));
    }
    nn::Linear lm_head{nullptr};
  };
  const Tied model;
  expect_error<ConfigError>([&] { select_targets(model, {"lm_head"}); },
                            {"lm_head.weight", "second.weight", "tied"});
}

}  // namespace
}  // namespace shira
