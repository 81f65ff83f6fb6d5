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
  Rerun(WideBlock block_in, RandomState random_in)
      : block(std::move(block_in)), random(std::move(random_in)) {}

  WideBlock block;
  RandomState random;
};

/// `tensor` with a graph that leaves the tensor's gradient in `grad`. A leaf's own grad would be a
/// copy with the leaf's strides, and other strides may be summed in another order further on.
torch::Tensor watched(const torch::Tensor& tensor, torch::Tensor& grad) {
  at::AutoGradMode enable(true);
  const torch::Tensor view = at::alias(tensor.detach().requires_grad_());
  view.register_hook([&grad](const torch::Tensor& arrived) { grad = arrived; });
  return view;
}

class CheckpointFunction : public torch::autograd::Function<CheckpointFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, at::TensorList inputs,
                               const torch::Tensor& /*anchor*/,
                               const c10::intrusive_ptr<Rerun>& rerun,
                               const std::vector<torch::Tensor>* result) {
    context->save_for_backward(inputs.vec());
    context->saved_data["rerun"] = c10::IValue::make_capsule(rerun);
    return result->front();
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    check_once_differentiable("checkpoint");
    const auto capsule = context->saved_data["rerun"].toCapsule();
    const auto& rerun = static_cast<const Rerun&>(*capsule);
    variable_list inputs = context->get_saved_variables();
    variable_list input_grads(inputs.size() + 3);  // the anchor's, and two that are no tensors'
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      inputs[i] =
          context->needs_input_grad(i) ? watched(inputs[i], input_grads[i]) : inputs[i].detach();
    }
    const RandomState now(inputs[0]);
    rerun.random.restore();
    {
      at::AutoGradMode enable(true);
      torch::autograd::backward({rerun.block(inputs)}, {grads[0]});
    }
    now.restore();
    return input_grads;
  }
};

}  // namespace

torch::Tensor checkpoint(const Block& block, const torch::Tensor& input) {
  return checkpoint([block](at::TensorList inputs) { return block(inputs[0]); },
                    at::TensorList(input));
}

torch::Tensor checkpoint(const WideBlock& block, at::TensorList inputs) {
  RandomState random(inputs[0]);
  torch::Tensor result = block(inputs);
  if (!result.requires_grad()) return result;
  const torch::Tensor anchor = at::empty({0}, inputs[0].options()).requires_grad_();
  const std::vector<torch::Tensor> value = {std::exchange(result, {}).detach()};
  return CheckpointFunction::apply(inputs, anchor,
                                   c10::make_intrusive<Rerun>(block, std::move(random)), &value);
}

}  // namespace shira::nn
