// Sparse training of a network that is not ours, with LibTorch's own optimiser: a convolutional net
// learns to tell circles from squares, then 2 % of its weights learn that colours are inverted. The
// rest keeps its bits, and the difference is an adapter that can be put on and taken off.
//
//   build/bin/sparse_training OUT_DIR
#include <shira/shira.h>

#include <torch/torch.h>

#include <iostream>

namespace {

struct Net : torch::nn::Module {
  Net() {
    conv1 =
        register_module("conv1", torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 16, 3).stride(2)));
    conv2 =
        register_module("conv2", torch::nn::Conv2d(torch::nn::Conv2dOptions(16, 32, 3).stride(2)));
    head = register_module("head", torch::nn::Linear(32, 2));
  }
  torch::Tensor forward(torch::Tensor x) {  // (B, 1, 16, 16) -> (B, 2)
    x = torch::relu(conv2->forward(torch::relu(conv1->forward(x))));
    return head->forward(x.amax({2, 3}));
  }

  torch::nn::Conv2d conv1{nullptr}, conv2{nullptr};
  torch::nn::Linear head{nullptr};
};

struct Images {
  torch::Tensor pixels;  // (B, 1, 16, 16)
  torch::Tensor labels;  // (B): 0 circle, 1 square
};

/// Discs and squares of random size and place on a noisy background.
Images draw(std::int64_t count, bool inverted) {
  const auto grid = torch::arange(16).to(torch::kFloat32);
  const auto center = [&] { return 5 + 6 * torch::rand({count, 1, 1}); };
  const auto dx = (grid.view({1, 1, 16}) - center()).abs();
  const auto dy = (grid.view({1, 16, 1}) - center()).abs();
  const auto radius = 3 + 2 * torch::rand({count, 1, 1});
  const auto labels = torch::randint(2, {count});
  const auto disc = dx.square() + dy.square() < radius.square();
  const auto square = torch::maximum(dx, dy) < 0.85 * radius;
  auto shape = torch::where(labels.view({count, 1, 1}) == 1, square, disc).to(torch::kFloat32);
  if (inverted) shape = 1 - shape;
  return {(shape + 0.1 * torch::randn({count, 16, 16})).unsqueeze(1), labels};
}

double accuracy(Net& net, bool inverted) {
  torch::NoGradGuard no_grad;
  const Images images = draw(2000, inverted);
  return (net.forward(images.pixels).argmax(1) == images.labels)
      .to(torch::kFloat32)
      .mean()
      .item<double>();
}

/// An ordinary LibTorch training loop; it knows nothing of masks.
void train(Net& net, torch::optim::Optimizer& optimizer, bool inverted, int steps) {
  for (int step = 0; step < steps; ++step) {
    const Images images = draw(64, inverted);
    optimizer.zero_grad();
    torch::cross_entropy_loss(net.forward(images.pixels), images.labels).backward();
    optimizer.step();
  }
}

void report(const std::string& what, Net& net) {
  std::cout << what << ": plain " << 100 * accuracy(net, false) << " %, inverted "
            << 100 * accuracy(net, true) << " %\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: sparse_training OUT_DIR\n";
    return 2;
  }
  torch::manual_seed(0);
  Net net;
  torch::optim::Adam dense(net.parameters(), torch::optim::AdamOptions(3e-3));
  train(net, dense, /*inverted=*/false, 500);
  report("trained on plain pictures", net);

  // 2 % of each matrix, the largest weights; every other entry and the biases stay as they are.
  const auto weights = shira::select_parameters(net, {"conv1", "conv2", "head"});
  const auto masks = shira::build_masks(weights, shira::wm_mask({.density = 0.02}));
  {
    shira::GradientMask guard(net, masks);
    torch::optim::AdamW sparse(net.parameters(), torch::optim::AdamWOptions(3e-2).weight_decay(0));
    guard.check(sparse);  // would throw for a weight decay, which moves unmasked entries
    train(net, sparse, /*inverted=*/true, 300);
    shira::save_adapter(argv[1], guard.extract());
  }
  report("2 % trained on inverted ones", net);
  return 0;
}
