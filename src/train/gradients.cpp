// The trainer says which step and batch a number that is not finite came from.
#include <shira/base/error.h>
#include <shira/train/gradients.h>

#include <ATen/Functions.h>

#include <cmath>

namespace shira {

void clear_gradients(const std::vector<NamedTensor>& parameters) {
  for (const auto& [name, parameter] : parameters) parameter.mutable_grad().reset();
}

double add_gradients(Objective& objective, const Batch& batch, std::int64_t terms) {
  const torch::Tensor sum = objective.loss_sum(batch);
  const auto loss = sum.item<double>();
  if (std::isfinite(loss)) (sum / static_cast<double>(terms)).backward();
  return loss;
}

double clip_gradients(const std::vector<NamedTensor>& parameters, double max_norm) {
  std::vector<torch::Tensor> grads;
  std::vector<torch::Tensor> norms;
  for (const auto& [name, parameter] : parameters) {
    SHIRA_CHECK(Error, parameter.grad().defined(), "no gradient reached ", name,
                ": the objective does not depend on it. Leave it out of target_modules.");
    grads.push_back(parameter.grad());
    norms.push_back(at::linalg_vector_norm(parameter.grad()));
  }
  const double norm = at::linalg_vector_norm(at::stack(norms)).item<double>();
  const double scale = max_norm / (norm + 1e-6);
  if (std::isfinite(norm) && max_norm > 0.0 && scale < 1.0) {
    for (torch::Tensor& grad : grads) grad.mul_(scale);
  }
  return norm;
}

}  // namespace shira
