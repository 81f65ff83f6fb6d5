// Where the kernels of src/kernels compute what LibTorch would compute in several passes.
#pragma once

#include <torch/types.h>

namespace shira::nn {

/// Whether `tensor` is of a kind that they take; LibTorch's operations serve the others.
inline bool has_float_kernels(const torch::Tensor& tensor) {
  const auto dtype = tensor.scalar_type();
  return tensor.is_cpu() &&
         (dtype == torch::kFloat32 || dtype == torch::kFloat64 || dtype == torch::kBFloat16);
}

}  // namespace shira::nn
