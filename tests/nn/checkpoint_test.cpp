// The same loss and gradients as without, in less memory.
#include <shira/nn/checkpoint.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace shira::nn {
namespace {

/// Two products with dropout between them.
struct Net {
  torch::Tensor first = at::randn({8, 8}).requires_grad_();
  torch::Tensor second = at::randn({8, 8}).requires_grad_();
  mutable int calls = 0;

  torch::Tensor operator()(const torch::Tensor& x) const {
    ++calls;
    return at::dropout(x.mm(first).tanh(), 0.5, /*train=*/true).mm(second);
  }
};

/// The input's gradient, or an undefined tensor.
torch::Tensor run(const Net& net, torch::Tensor x, bool with_checkpoint, torch::Tensor* loss) {
  torch::manual_seed(5);
  for (const torch::Tensor& weight : {net.first, net.second}) weight.mutable_grad().reset();
  const Block block = [&net](const torch::Tensor& input) { return net(input); };
  torch::Tensor hidden = x;
  for (int i = 0; i < 3; ++i) hidden = with_checkpoint ? checkpoint(block, hidden) : block(hidden);
  *loss = hidden.square().sum() + at::rand({});  // a later user of the generator
  loss->backward();
  return x.grad();
}

TEST(Checkpoint, GivesTheSameBitsWithDropout) {
  const Net net;
  for (const bool needs_input_grad : {true, false}) {
    const torch::Tensor start = at::randn({4, 8});
    torch::Tensor plain_loss, loss;
    const torch::Tensor plain_x = start.clone().requires_grad_(needs_input_grad);
    const torch::Tensor plain = run(net, plain_x, false, &plain_loss);
    const torch::Tensor plain_first = net.first.grad(), plain_second = net.second.grad();
    const torch::Tensor after_plain = at::rand({3});
    const torch::Tensor x = start.clone().requires_grad_(needs_input_grad);
    const torch::Tensor grad = run(net, x, true, &loss);
    EXPECT_TRUE(at::rand({3}).equal(after_plain)) << "the generator goes on where it was";
    EXPECT_TRUE(loss.equal(plain_loss));
    EXPECT_TRUE(net.first.grad().equal(plain_first));
    EXPECT_TRUE(net.second.grad().equal(plain_second));
    EXPECT_EQ(grad.defined(), needs_input_grad);
    EXPECT_TRUE(!needs_input_grad || grad.equal(plain));
  }
}

TEST(Checkpoint, BlocksMayShareAnInputWithAGraphOfItsOwn) {
  const torch::Tensor weight = at::randn({8}).requires_grad_(), start = at::randn({4, 8});
  const WideBlock block = [](at::TensorList in) { return (in[0] * in[1]).tanh() + in[2]; };
  const auto gradient = [&](bool with_checkpoint) {
    weight.mutable_grad().reset();
    const torch::Tensor shared = weight.exp(), constant = at::ones({8});
    torch::Tensor hidden = start;
    for (int i = 0; i < 3; ++i) {
      const std::vector<torch::Tensor> inputs = {hidden, shared, constant};
      hidden = with_checkpoint ? checkpoint(block, inputs) : block(inputs);
    }
    hidden.sum().backward();
    return weight.grad();
  };
  EXPECT_TRUE(gradient(true).equal(gradient(false)));
}

TEST(Checkpoint, KeepsNothingOfABlockWithoutTraining) {
  Net net;
  net.first.set_requires_grad(false);
  net.second.set_requires_grad(false);
  const Block block = [&net](const torch::Tensor& input) { return net(input); };
  EXPECT_FALSE(checkpoint(block, at::randn({4, 8})).requires_grad());
  EXPECT_EQ(net.calls, 1);
  net.first.set_requires_grad(true);
  torch::NoGradGuard no_grad;
  EXPECT_FALSE(checkpoint(block, at::randn({4, 8})).requires_grad());
  EXPECT_EQ(net.calls, 2);
}

TEST(Checkpoint, RunsTheBlockTwice) {
  const Net net;
  const Block block = [&net](const torch::Tensor& input) { return net(input); };
  const torch::Tensor out = checkpoint(block, at::randn({4, 8}));
  EXPECT_EQ(net.calls, 1);
  out.sum().backward();
  EXPECT_EQ(net.calls, 2);
}

TEST(Checkpoint, DropsTheGraphOfTheFirstPass) {
  using WeakTensor = c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;
  std::optional<WeakTensor> saved;
  const Block block = [&](const torch::Tensor& input) {
    const torch::Tensor inner = input.exp();
    saved.emplace(inner.getIntrusivePtr());
    return inner.square();
  };
  const torch::Tensor out = checkpoint(block, at::ones({2}).requires_grad_());
  EXPECT_TRUE(out.requires_grad());
  EXPECT_TRUE(saved->expired());
}

}  // namespace
}  // namespace shira::nn
