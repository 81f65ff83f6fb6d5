// The readable form: the dense product of one layer, gathered and freed. Operands are widened
// first, so that a bfloat16 model's gradient is never rounded to bfloat16.
#include <shira/sparse/sampled_weight_grad.h>

#include <ATen/Functions.h>

namespace shira {

torch::Tensor sampled_weight_grad(const torch::Tensor& grad, const torch::Tensor& input,
                                  const torch::Tensor& indices) {
  const auto dtype = grad.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  const torch::Tensor dense = at::mm(grad.to(dtype).t(), input.to(dtype));  // (out, in)
  return dense.view({-1}).index_select(0, indices);
}

}  // namespace shira
