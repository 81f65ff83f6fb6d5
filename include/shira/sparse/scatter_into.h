// The one way in which live weights are written, and its counterpart. Positions are int32 for a
// weight on the CPU, which our own kernels write; int64 positions on the weight's device go through
// LibTorch's index operations, on every device.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/sparse_mask.h>

#include <torch/types.h>

#include <string>

namespace shira {

/// Throws ShapeError unless `weight` has the shape of what belongs to it.
SHIRA_API void check_shape(const std::string& name, const torch::Tensor& weight,
                           at::IntArrayRef shape);

/// Throws ShapeError unless a weight may be written in place: contiguous, a floating-point dtype,
/// in owned memory (not in a mapped file).
SHIRA_API void check_writable(const std::string& name, const torch::Tensor& weight);

/// Both of a mask's weight.
SHIRA_API void check_scatter(const std::string& name, const torch::Tensor& weight,
                             const SparseMask& mask);

/// Positions as the functions below take them for this weight: int32, or int64 on its device.
SHIRA_API torch::Tensor indices_for(const torch::Tensor& weight, const torch::Tensor& indices);

/// weight.view(-1)[indices] = values, bit for bit, then bumps the weight's version so that autograd
/// raises if the weight changed between forward and backward. `indices` (nnz) and `values` (nnz),
/// of the weight's dtype, belong to a mask that fits a weight which check_writable accepted.
SHIRA_API void scatter_into(const torch::Tensor& weight, const torch::Tensor& indices,
                            const torch::Tensor& values);

/// scatter_into of the first pair, then of the second, in one pass over the weight.
SHIRA_API void scatter_both_into(const torch::Tensor& weight, const torch::Tensor& first_indices,
                                 const torch::Tensor& first_values,
                                 const torch::Tensor& second_indices,
                                 const torch::Tensor& second_values);

/// scatter_into; returns what was there before, in the same pass over the weight.
SHIRA_API torch::Tensor swap_into(const torch::Tensor& weight, const torch::Tensor& indices,
                                  const torch::Tensor& values);

/// The whole weight becomes `values`, of its shape and dtype.
SHIRA_API void copy_into(const torch::Tensor& weight, const torch::Tensor& values);

/// weight.view(-1)[indices], (nnz), in the weight's dtype.
SHIRA_API torch::Tensor gather_from(const torch::Tensor& weight, const torch::Tensor& indices);

}  // namespace shira
