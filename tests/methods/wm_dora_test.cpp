// WM-DoRA against its definition: a dense weight under autograd.
#include <shira/methods/wm_dora.h>
#include <shira/nn/linear.h>
#include <shira/sparse/adapter_switcher.h>
#include <shira/sparse/mask_builders.h>

#include <torch/torch.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

using torch::Tensor;

struct WmDoraModel : torch::nn::Module {
  explicit WmDoraModel(torch::ScalarType dtype) {
    first = register_module(
        "first", nn::Linear(torch::randn({6, 5}).to(dtype), torch::randn({6}).to(dtype)));
    second = register_module("second", nn::Linear(torch::randn({4, 6}).to(dtype)));
  }
  Tensor forward(const Tensor& x) { return second->forward(first->forward(x).tanh()); }

  nn::Linear first{nullptr}, second{nullptr};
};

MaskMap wm_masks(const WmDoraModel& model) {
  return build_masks(target_weights(select_targets(model, {"all-linear"})),
                     wm_mask({.density = 0.3}));
}

WmDora plug_wm_dora(const WmDoraModel& model) {
  return {
      select_targets(model, {"all-linear"}), wm_masks(model), {.r = 3, .alpha = 2.0, .seed = 5}};
}

/// W + M * (DoRA(W) - W), word for word; `factors`: A, B and m.
Tensor dense_weight(const Tensor& base, const SparseMask& mask,
                    const std::vector<Tensor>& factors) {
  const Tensor sum = base + 2.0 / 3.0 * factors[1].mm(factors[0]);
  const Tensor norm = sum.norm(2, 1).detach();
  const Tensor dora = (factors[2] / norm).unsqueeze(1) * sum;
  return base + mask.to_dense() * (dora - base);
}

/// Some steps of gradient descent, so that the weight holds trained entries.
TEST(WmDora, IsDoraUnderTheMask) {
  torch::manual_seed(1);
  WmDoraModel model(torch::kFloat64);
  const Tensor x = torch::randn({3, 7, 5}, torch::kFloat64);
  const std::vector<Tensor> bases = {model.first->weight.clone(), model.second->weight.clone()};
  const MaskMap masks = wm_masks(model);
  WmDora method = plug_wm_dora(model);
  std::vector<Tensor> leaves;
  for (const auto& [name, leaf] : method.parameters()) {
    leaves.push_back(leaf.detach().clone().requires_grad_());
  }
  ASSERT_EQ(leaves.size(), 6U);
  for (int step = 0; step < 4; ++step) {
    const Tensor first =
        dense_weight(bases[0], masks.at("first.weight"), {leaves[0], leaves[1], leaves[2]});
    const Tensor second =
        dense_weight(bases[1], masks.at("second.weight"), {leaves[3], leaves[4], leaves[5]});
    const Tensor expected =
        torch::linear(torch::linear(x, first, model.first->bias).tanh(), second);
    const Tensor output = model.forward(x);
    EXPECT_TRUE(output.allclose(expected, 1e-12, 1e-12)) << step;
    expected.square().sum().backward();
    output.square().sum().backward();
    torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      const auto [name, leaf] = method.parameters()[i];
      EXPECT_TRUE(leaf.grad().allclose(leaves[i].grad(), 1e-10, 1e-10)) << name << step;
      if (step > 0 || !name.ends_with("lora_A.weight")) {
        EXPECT_GT(leaf.grad().abs().max().item<double>(), 0.0) << name << step;
      }
      for (Tensor tensor : {leaf, leaves[i]}) {
        tensor.sub_(tensor.grad(), 0.02);
        tensor.mutable_grad().reset();
      }
    }
    method.publish();
  }
}

TEST(WmDora, StartsAsTheBase) {
  WmDoraModel model(torch::kBFloat16);
  const Tensor before = model.first->weight.clone();
  WmDora method = plug_wm_dora(model);
  method.publish();
  EXPECT_TRUE(model.first->weight.equal(before));
}

TEST(WmDora, ItsAdapterHoldsTheMaskedEntriesBitForBit) {
  WmDoraModel model(torch::kBFloat16);
  const Tensor base = model.first->weight.clone();
  const MaskMap masks = wm_masks(model);
  SparseAdapter adapter;
  {
    WmDora method = plug_wm_dora(model);
    torch::NoGradGuard no_grad;
    for (const auto& [name, leaf] : method.parameters()) leaf.add_(0.3);
    method.publish();
    adapter = method.extract();
  }
  EXPECT_EQ(model.first->plug, nullptr);
  const Tensor trained = model.first->weight.clone();
  const Tensor mask = masks.at("first.weight").to_dense();
  EXPECT_TRUE(
      trained.masked_select(mask.logical_not()).equal(base.masked_select(mask.logical_not())));
  EXPECT_FALSE(trained.masked_select(mask).equal(base.masked_select(mask)));
  {
    torch::NoGradGuard no_grad;
    model.first->weight.copy_(base);
  }
  adapter.tensors.erase("second.weight");
  AdapterSwitcher switcher(model);
  switcher.apply(switcher.resolve({{adapter}}));  // checks that it is the same base
  EXPECT_TRUE(model.first->weight.equal(trained));
}

}  // namespace
}  // namespace shira
