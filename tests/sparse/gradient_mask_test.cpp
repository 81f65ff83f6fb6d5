// Hooks on a module that knows nothing of them, against what the masks promise.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/sparse/gradient_mask.h>
#include <shira/sparse/mask_builders.h>

#include <ATen/Functions.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <gtest/gtest.h>

#include <cmath>

namespace shira {
namespace {

struct Mlp : torch::nn::Module {
  Mlp() {
    fc1 = register_module("fc1", torch::nn::Linear(6, 5));
    fc2 = register_module("fc2", torch::nn::Linear(5, 3));
  }
  torch::Tensor loss() {
    return fc2->forward(fc1->forward(at::ones({4, 6})).tanh()).square().sum();
  }

  torch::nn::Linear fc1{nullptr}, fc2{nullptr};
};

MaskMap masks_of(const Mlp& net, const std::vector<std::string>& patterns = {"fc1", "fc2"}) {
  return build_masks(select_parameters(net, patterns), rand_mask({.density = 0.2}, 1));
}

void train(Mlp& net, torch::optim::Optimizer& optimizer, int steps = 3) {
  for (int i = 0; i < steps; ++i) {
    optimizer.zero_grad();
    net.loss().backward();
    optimizer.step();
  }
}

std::vector<torch::Tensor> copies(const Mlp& net) {
  std::vector<torch::Tensor> copies;
  for (const torch::Tensor& parameter : net.parameters()) copies.push_back(parameter.clone());
  return copies;
}

/// Entries outside the masks have their bits, and every masked matrix has moved.
void expect_only_masked_moved(const Mlp& net, const std::vector<torch::Tensor>& before,
                              const MaskMap& masks) {
  const auto parameters = net.named_parameters();
  for (std::size_t i = 0; i < before.size(); ++i) {
    const auto found = masks.find(parameters[i].key());
    const torch::Tensor moved = parameters[i].value().ne(before[i]);
    if (found == masks.end()) {
      EXPECT_FALSE(moved.any().item<bool>()) << parameters[i].key();
    } else {
      EXPECT_FALSE(moved.logical_and(found->second.to_dense().logical_not()).any().item<bool>());
      EXPECT_TRUE(moved.any().item<bool>()) << parameters[i].key();
    }
  }
}

TEST(SelectParameters, TakesMatricesByTheirModulesName) {
  const Mlp net;
  const auto chosen = select_parameters(net, {"fc2"});
  ASSERT_EQ(chosen.size(), 1U);
  EXPECT_EQ(chosen[0].first, "fc2.weight");
  EXPECT_TRUE(chosen[0].second.is_same(net.fc2->weight));
  expect_error<ConfigError>([&] { select_parameters(net, {"fc3"}); },
                            {"fc3", "fc1.weight, fc2.weight"});
}

TEST(GradientMask, GradientsOutsideTheMaskAreZeroAndInsideUnchanged) {
  Mlp net;
  net.loss().backward();
  const torch::Tensor dense = net.fc1->weight.grad().clone();
  const MaskMap masks = masks_of(net);
  const GradientMask guard(net, masks);
  EXPECT_FALSE(net.fc1->weight.grad().defined());
  net.loss().backward();
  const torch::Tensor mask = masks.at("fc1.weight").to_dense();
  EXPECT_TRUE(net.fc1->weight.grad().equal(dense * mask));
  EXPECT_FALSE(net.fc1->bias.grad().defined());
}

TEST(GradientMask, EveryOptimiserLeavesTheRestAlone) {
  const auto trained_with = [](auto make_optimizer) {
    Mlp net;
    const auto before = copies(net);
    const MaskMap masks = masks_of(net);
    const GradientMask guard(net, masks);
    auto optimizer = make_optimizer(net.parameters());
    guard.check(optimizer);
    train(net, optimizer);
    guard.check(optimizer);  // its moments are 0 outside the masks
    expect_only_masked_moved(net, before, masks);
  };
  namespace optim = torch::optim;
  using Parameters = std::vector<torch::Tensor>;
  trained_with([](const Parameters& p) { return optim::SGD(p, optim::SGDOptions(0.1)); });
  trained_with([](const Parameters& p) {
    return optim::SGD(p, optim::SGDOptions(0.1).momentum(0.9).nesterov(true));
  });
  trained_with([](const Parameters& p) { return optim::Adam(p); });
  trained_with(
      [](const Parameters& p) { return optim::AdamW(p, optim::AdamWOptions().weight_decay(0)); });
  trained_with([](const Parameters& p) {
    return optim::RMSprop(p, optim::RMSpropOptions().momentum(0.5).centered(true));
  });
}

TEST(GradientMask, CheckRefusesWeightDecayAndOldMomentum) {
  Mlp net;
  torch::optim::SGD used(net.parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  train(net, used, 1);
  const GradientMask guard(net, masks_of(net));
  expect_error<ConfigError>([&] { guard.check(used); },
                            {"momentum", "fc1.weight", "new optimiser"});
  const torch::optim::AdamW decaying(net.parameters());
  expect_error<ConfigError>([&] { guard.check(decaying); }, {"weight decay 0.01", "fc1.weight"});
  const torch::optim::LBFGS unknown(net.parameters());
  expect_error<ConfigError>([&] { guard.check(unknown); }, {"unknown", "AdamW"});
}

TEST(GradientMask, CheckIgnoresDecayOfParametersWithoutAMask) {
  Mlp net;
  const GradientMask guard(net, masks_of(net, {"fc1"}));
  torch::optim::AdamW optimizer({torch::optim::OptimizerParamGroup({net.fc1->weight})},
                                torch::optim::AdamWOptions().weight_decay(0));
  optimizer.add_param_group(torch::optim::OptimizerParamGroup(
      {net.fc2->weight}, std::make_unique<torch::optim::AdamWOptions>()));
  EXPECT_NO_THROW(guard.check(optimizer));
}

TEST(GradientMask, GoesAwayWithoutATrace) {
  Mlp net;
  net.fc2->weight.set_requires_grad(false);
  {
    const GradientMask guard(net, masks_of(net));
  }
  EXPECT_TRUE(net.fc1->bias.requires_grad());
  EXPECT_FALSE(net.fc2->weight.requires_grad());
  net.loss().backward();
  EXPECT_TRUE(net.fc1->weight.grad().ne(0).all().item<bool>());
}

TEST(GradientMask, ExtractsWhatWasTrainedForTheBaseAsItWas) {
  Mlp net;
  const MaskMap masks = masks_of(net);
  const torch::Tensor base =
      net.fc1->weight.detach().masked_select(masks.at("fc1.weight").to_dense());
  const GradientMask guard(net, masks);
  torch::optim::SGD optimizer(net.parameters(), torch::optim::SGDOptions(0.1));
  train(net, optimizer);
  const SparseTensor tensor = guard.extract().tensors.at("fc1.weight");
  const torch::Tensor dense = tensor.mask.to_dense();
  EXPECT_TRUE(tensor.values.equal(net.fc1->weight.detach().masked_select(dense)));
  EXPECT_EQ(tensor.base_checksum, base_checksum(base, torch::kFloat32));
  EXPECT_FALSE(tensor.values.equal(base));
}

TEST(GradientMask, NansOutsideTheMaskVanish) {
  const torch::Tensor weight = at::zeros({2}).requires_grad_();
  struct One : torch::nn::Module {
    explicit One(torch::Tensor w) { register_parameter("w", std::move(w)); }
  };
  const One net(weight);
  const GradientMask guard(net, {{"w", SparseMask({2}, at::tensor({1}, torch::kInt32))}});
  (net.parameters()[0] * at::tensor({NAN, 2.0F})).sum().backward();
  EXPECT_TRUE(net.parameters()[0].grad().equal(at::tensor({0.0F, 2.0F})));
}

TEST(GradientMask, RefusesUnknownNamesAndOtherShapes) {
  const Mlp net;
  const SparseMask mask({2, 2}, at::tensor({0}, torch::kInt32));
  expect_error<ConfigError>([&] { GradientMask(net, {{"fc9.weight", mask}}); }, {"fc9.weight"});
  expect_error<ShapeError>([&] { GradientMask(net, {{"fc1.weight", mask}}); },
                           {"fc1.weight", "[5, 6]", "[2, 2]"});
}

}  // namespace
}  // namespace shira
