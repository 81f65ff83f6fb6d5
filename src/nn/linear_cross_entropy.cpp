// For a vocabulary of 128 thousand, the logits of 4096 tokens are 2 GiB in float32, and their
// gradient as much again. The gradient of a sum of losses is known as soon as a chunk's logits are,
// so both exist for one chunk at a time, in the same memory.
#include "float_kernels.h"

#include <shira/base/error.h>
#include <shira/kernels/cross_entropy.h>
#include <shira/nn/linear_cross_entropy.h>
#include <shira/nn/once_differentiable.h>
#include <shira/sparse/fast_linear.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

namespace shira::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The sum of the losses; overwrites the logits with its gradient, if wanted.
double chunk_loss(torch::Tensor& logits, const torch::Tensor& labels, bool with_grad) {
  const LogitsShape shape = {to_dtype(logits.scalar_type()), logits.size(0), logits.size(1)};
  const torch::Tensor losses = at::empty({logits.size(0)}, torch::kFloat64);
  const auto* label = labels.const_data_ptr<std::int64_t>();
  auto* loss = losses.mutable_data_ptr<double>();
  if (with_grad) {
    cross_entropy_to_grad(shape, logits.mutable_data_ptr(), label, loss);
  } else {
    cross_entropy(shape, logits.const_data_ptr(), label, loss);
  }
  return losses.sum().item<double>();
}

/// The same by LibTorch's operations.
double chunk_loss_anywhere(torch::Tensor& logits, const torch::Tensor& labels, bool with_grad) {
  const torch::Tensor log_probabilities =
      at::log_softmax(logits, -1, at::promote_types(logits.scalar_type(), torch::kFloat32));
  const torch::Tensor columns = labels.unsqueeze(1);
  const double loss = -log_probabilities.gather(1, columns).sum(torch::kFloat64).item<double>();
  if (with_grad) {
    const torch::Tensor less_one = at::full_like(columns, -1, log_probabilities.options());
    logits = log_probabilities.exp().scatter_add_(1, columns, less_one).to(logits.scalar_type());
  }
  return loss;
}

class LinearCrossEntropyFunction : public torch::autograd::Function<LinearCrossEntropyFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& hidden,
                               const torch::Tensor& weight, const torch::Tensor& labels,
                               bool with_grad) {
    const torch::Tensor hidden_grad = with_grad ? at::empty_like(hidden) : torch::Tensor();
    double sum = 0.0;
    for (std::int64_t begin = 0; begin < hidden.size(0); begin += kCrossEntropyRows) {
      const std::int64_t rows = std::min(kCrossEntropyRows, hidden.size(0) - begin);
      torch::Tensor logits = fast_linear(hidden.narrow(0, begin, rows), weight);
      const auto loss = has_float_kernels(logits) ? chunk_loss : chunk_loss_anywhere;
      sum += loss(logits, labels.narrow(0, begin, rows), with_grad);
      if (with_grad) hidden_grad.narrow(0, begin, rows).copy_(fast_linear(logits, weight.t()));
    }
    if (with_grad) context->save_for_backward({hidden_grad});
    const auto wide = at::promote_types(hidden.scalar_type(), torch::kFloat32);
    return at::full({}, sum, hidden.options().dtype(wide));
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    check_once_differentiable("linear_cross_entropy");
    const torch::Tensor hidden_grad = context->get_saved_variables()[0];
    return {hidden_grad * grads[0], {}, {}, {}};  // a scalar of float32 does not widen the dtype
  }
};

}  // namespace

torch::Tensor linear_cross_entropy(const torch::Tensor& hidden, const torch::Tensor& weight,
                                   const torch::Tensor& labels) {
  SHIRA_CHECK(ShapeError,
              hidden.dim() == 2 && labels.dim() == 1 && labels.size(0) == hidden.size(0),
              "linear_cross_entropy: got hidden of ", hidden.sizes(), " and labels of ",
              labels.sizes(), ", expected (rows, dim) and (rows)");
  SHIRA_CHECK(
      Error, !(at::GradMode::is_enabled() && weight.requires_grad()),
      "linear_cross_entropy: the weight requires a gradient, and this makes none. Freeze it, "
      "or use at::cross_entropy_loss on logits.");
  const bool with_grad = at::GradMode::is_enabled() && hidden.requires_grad();
  return LinearCrossEntropyFunction::apply(hidden.contiguous(), weight, labels.contiguous(),
                                           with_grad);
}

}  // namespace shira::nn
