// A small application, built against the installed package and nothing else: it trains a sparse
// adapter on a layer of its own, saves it, loads it, switches it on and off.
#include <shira/shira.h>

#include <ATen/Functions.h>

#include <iostream>

namespace {

struct Net : torch::nn::Module {
  Net() { layer = register_module("layer", shira::nn::Linear(at::randn({8, 6}))); }
  shira::nn::Linear layer{nullptr};
};

/// The weight moved by one optimiser step on masked entries, as an adapter.
shira::SparseAdapter train_one_step(const Net& net) {
  auto targets = shira::select_targets(net, {"layer"});
  const auto masks =
      shira::build_masks(shira::target_weights(targets), shira::wm_mask({.density = 0.25}));
  shira::PackedShira method(std::move(targets), masks);
  const auto optimizer = shira::make_adamw(method.parameters(), {});
  shira::nn::Linear layer = net.layer;
  layer->forward(at::ones({2, 6})).square().sum().backward();
  optimizer->step(0.1);
  method.publish();
  return method.extract();
}

}  // namespace

int main() {
  Net net;
  const torch::Tensor base = net.layer->weight.clone();
  shira::save_adapter("adapter", train_one_step(net));
  const torch::Tensor trained = net.layer->weight.clone();
  {
    torch::NoGradGuard no_grad;
    net.layer->weight.copy_(base);
  }
  shira::AdapterSwitcher switcher(net);
  switcher.switch_to(switcher.resolve({{shira::load_adapter("adapter")}}));
  const bool applied = net.layer->weight.equal(trained) && !trained.equal(base);
  switcher.revert();
  const bool reverted = net.layer->weight.equal(base);
  std::cout << "applied: " << applied << ", reverted: " << reverted << "\n";
  return applied && reverted ? 0 : 1;
}
