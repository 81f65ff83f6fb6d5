// The one way in which live weights are written, and its counterpart.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/sparse_mask.h>

#include <torch/types.h>

#include <string>

namespace shira {

/// Throws ShapeError unless `mask` fits `weight` and scatter_into may write it: shape, contiguous,
/// on the CPU, a floating-point dtype, in owned memory (not in a mapped file).
SHIRA_API void check_scatter(const std::string& name, const torch::Tensor& weight,
                             const SparseMask& mask);

/// weight.view(-1)[indices] = values, bit for bit, then bumps the weight's version so that autograd
/// raises if the weight changed between forward and backward. `indices` (nnz) int32 and `values`
/// (nnz), of the weight's dtype, belong to a mask that check_scatter accepted.
SHIRA_API void scatter_into(const torch::Tensor& weight, const torch::Tensor& indices,
                            const torch::Tensor& values);

/// weight.view(-1)[indices], (nnz), in the weight's dtype.
SHIRA_API torch::Tensor gather_from(const torch::Tensor& weight, const torch::Tensor& indices);

}  // namespace shira
