// The product of a layer whose masked entries are trained.
#pragma once

#include <torch/types.h>

namespace shira::detail {

/// y = input W^T + b with the weight as it is; a gradient for the input, and for `values` (nnz),
/// which stand for the entries of W at `indices` (nnz, int32), that of those entries.
torch::Tensor packed_linear(const torch::Tensor& input, const torch::Tensor& weight,
                            const torch::Tensor& bias, const torch::Tensor& values,
                            const torch::Tensor& indices);

}  // namespace shira::detail
