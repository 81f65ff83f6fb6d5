// The first pass runs as always, so that a block without anything to train needs no gradient
// either; its graph is then dropped, and a function that can make it again takes its place. That
// function needs an input that requires a gradient even where `input` does not: an empty anchor.
#include <shira/nn/checkpoint.h>
#include <shira/nn/once_differentiable.h>

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/core/Generator.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <mutex>
#include <utility>
#include <vector>

namespace shira::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The default generators' states: the CPU's and, for a tensor elsewhere, its device's.
class RandomState {
 public:
  explicit RandomState(const torch::Tensor& tensor) {
    keep(at::Device(at::kCPU));
    if (!tensor.is_cpu()) keep(tensor.device());
  }
  void restore() const {
    for (const auto& [generator, state] : states_) {
      at::Generator target = generator;
      const std::lock_guard lock(target.mutex());
      target.set_state(state);
    }
  }

 private:
  void keep(at::Device device) {
    at::Generator generator = at::globalContext().defaultGenerator(device);
    const std::lock_guard lock(generator.mutex());
    states_.emplace_back(generator, generator.get_state());
  }

  std::vector<std::pair<at::Generator, torch::Tensor>> states_;
};

/// What the backward pass needs to run the block again.
struct Rerun : torch::CustomClassHolder {
  Rerun(Block block_in, RandomState random_in)
      : block(std::move(block_in)), random(std::move(random_in)) {}

  Block block;
  RandomState random;
};

class CheckpointFunction : public torch::autograd::Function<CheckpointFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& /*anchor*/,
                               const c10::intrusive_ptr<Rerun>& rerun,
                               const std::vector<torch::Tensor>* result) {
    context->save_for_backward({input});
    context->saved_data["rerun"] = c10::IValue::make_capsule(rerun);
    return result->front();
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    check_once_differentiable("checkpoint");
    const auto capsule = context->saved_data["rerun"].toCapsule();
    const auto& rerun = static_cast<const Rerun&>(*capsule);
    const torch::Tensor input =
        context->get_saved_variables()[0].detach().requires_grad_(context->needs_input_grad(0));
    const RandomState now(input);
    rerun.random.restore();
    {
      at::AutoGradMode enable(true);
      torch::autograd::backward({rerun.block(input)}, {grads[0]});
    }
    now.restore();
    return {input.grad(), {}, {}, {}};
  }
};

}  // namespace

torch::Tensor checkpoint(const Block& block, const torch::Tensor& input) {
  RandomState random(input);
  torch::Tensor result = block(input);
  if (!result.requires_grad()) return result;
  const torch::Tensor anchor = at::empty({0}, input.options()).requires_grad_();
  const std::vector<torch::Tensor> value = {std::exchange(result, {}).detach()};
  return CheckpointFunction::apply(input, anchor,
                                   c10::make_intrusive<Rerun>(block, std::move(random)), &value);
}

}  // namespace shira::nn
