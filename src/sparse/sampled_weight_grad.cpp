// Three forms of one product, by what was measured to be the fastest (docs/benchmarks.md): the
// sampled kernel for scattered entries; a small dense product for rows that are masked whole, as
// struct masks have them; the dense product of the layer, gathered and freed, for dense masks and
// wherever there is no kernel. 16-bit operands are widened first, so that a bfloat16 model's
// gradient is never rounded to bfloat16.
#include "index_span.h"

#include <shira/base/error.h>
#include <shira/kernels/sampled_product.h>
#include <shira/sparse/fast_linear.h>
#include <shira/sparse/sampled_weight_grad.h>
#include <shira/sparse/tensor_file.h>

#include <ATen/Functions.h>
#include <torch/version.h>

#include <algorithm>
#include <span>
#include <vector>

// Tensor cores multiply 16-bit operands and add up in float32: nothing needs to be widened.
#define SHIRA_MM_HAS_OUT_DTYPE \
  (TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 8))

namespace shira {
namespace {

/// Above this share of the entries the dense product wins.
constexpr double kDenseShare = 0.25;

using Indices = std::span<const std::int32_t>;

torch::Tensor dense_then_gather(const torch::Tensor& grad, const torch::Tensor& input,
                                const torch::Tensor& indices) {
  return dense_weight_grad(grad, input).view({-1}).index_select(0, indices);
}

TokenMatrix token_matrix(const torch::Tensor& tensor) {
  return {tensor.const_data_ptr(), to_dtype(tensor.scalar_type()), tensor.size(1)};
}

torch::Tensor sampled_entries(const torch::Tensor& grad, const torch::Tensor& input,
                              Indices indices) {
  torch::Tensor values =
      at::empty({static_cast<std::int64_t>(indices.size())}, grad.options().dtype(torch::kFloat32));
  sampled_product(token_matrix(grad), token_matrix(input), grad.size(0), indices,
                  values.mutable_data_ptr<float>());
  return values;
}

/// A row of which every entry is masked: the entries from `begin` on.
struct WholeRow {
  std::int64_t row;
  std::size_t begin;
};

std::vector<WholeRow> find_whole_rows(Indices indices, std::int64_t columns) {
  const auto width = static_cast<std::size_t>(columns);
  std::vector<WholeRow> found;
  std::size_t k = 0;
  while (k + width <= indices.size()) {
    const std::int64_t row = indices[k] / columns;
    if (indices[k + width - 1] == row * columns + columns - 1) found.push_back({row, k});
    const Indices possible = indices.subspan(k, width);
    k += static_cast<std::size_t>(std::ranges::lower_bound(possible, (row + 1) * columns) -
                                  possible.begin());
  }
  return found;
}

/// The rows of the weight's gradient, (rows, in) float32; 16-bit tokens are widened a block at a
/// time, which stays in the cache.
torch::Tensor whole_row_grads(const torch::Tensor& grad, const torch::Tensor& input,
                              const std::vector<WholeRow>& rows) {
  constexpr std::int64_t kBlock = 256;
  const torch::Tensor numbers = at::empty({static_cast<std::int64_t>(rows.size())}, torch::kInt64);
  std::ranges::transform(rows, numbers.mutable_data_ptr<std::int64_t>(), &WholeRow::row);
  const torch::Tensor grad_rows = grad.index_select(1, numbers).to(torch::kFloat32).t();
  if (input.scalar_type() == torch::kFloat32) return at::mm(grad_rows, input);
  torch::Tensor sums = at::zeros({grad_rows.size(0), input.size(1)}, grad_rows.options());
  for (std::int64_t begin = 0; begin < input.size(0); begin += kBlock) {
    const std::int64_t count = std::min(kBlock, input.size(0) - begin);
    sums.addmm_(grad_rows.narrow(1, begin, count),
                input.narrow(0, begin, count).to(torch::kFloat32));
  }
  return sums;
}

torch::Tensor with_whole_rows(const torch::Tensor& grad, const torch::Tensor& input,
                              Indices indices, const std::vector<WholeRow>& rows) {
  std::vector<std::int32_t> others;     // the indices outside of the whole rows
  std::vector<std::int64_t> stretches;  // how many of them before each whole row, and at the end
  std::size_t at = 0;
  const auto take_until = [&](std::size_t end) {
    others.insert(others.end(), indices.begin() + at, indices.begin() + end);
    stretches.push_back(static_cast<std::int64_t>(end - at));
  };
  for (const WholeRow& row : rows) {
    take_until(row.begin);
    at = row.begin + static_cast<std::size_t>(input.size(1));
  }
  take_until(indices.size());

  const torch::Tensor row_grads = whole_row_grads(grad, input, rows);
  const auto other_grads = sampled_entries(grad, input, others).split_with_sizes(stretches);
  std::vector<torch::Tensor> pieces = {other_grads.front()};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    pieces.push_back(row_grads[static_cast<std::int64_t>(i)]);
    pieces.push_back(other_grads[i + 1]);
  }
  return at::cat(pieces);
}

bool is_dense(const torch::Tensor& indices, std::int64_t entries) {
  return static_cast<double>(indices.numel()) > kDenseShare * static_cast<double>(entries);
}

bool has_kernel(const torch::Tensor& grad, const torch::Tensor& input) {
  const auto dtype = grad.scalar_type();
  return grad.is_cpu() && dtype == input.scalar_type() &&
         (dtype == torch::kFloat32 || dtype == torch::kBFloat16);
}

}  // namespace

torch::Tensor dense_weight_grad(const torch::Tensor& grad, const torch::Tensor& input) {
  const auto dtype = at::promote_types(grad.scalar_type(), torch::kFloat32);
#if SHIRA_MM_HAS_OUT_DTYPE
  if (grad.is_cuda() && grad.element_size() == 2) return at::mm(grad.t(), input, dtype);
#endif
  return fast_linear(grad.to(dtype).t(), input.to(dtype).t());
}

torch::Tensor dense_convolution_grad(const ConvolutionShape& shape, const torch::Tensor& grad,
                                     const torch::Tensor& input) {
  const auto dtype = at::promote_types(grad.scalar_type(), torch::kFloat32);
  const torch::Tensor weight = at::empty({shape.out, shape.in, shape.kernel[0], shape.kernel[1]},
                                         grad.options().dtype(dtype));
  return std::get<1>(at::convolution_backward(
      grad.to(dtype), input.to(dtype), weight, /*bias_sizes=*/std::nullopt, shape.stride,
      shape.padding, shape.dilation, /*transposed=*/false, /*output_padding=*/{0, 0}, /*groups=*/1,
      /*output_mask=*/{false, true, false}));
}

torch::Tensor sampled_weight_grad(const torch::Tensor& grad, const torch::Tensor& input,
                                  const torch::Tensor& indices) {
  SHIRA_CHECK(ShapeError,
              grad.dim() == 2 && input.dim() == 2 && grad.size(0) == input.size(0) &&
                  indices.is_contiguous(),
              "[sampled_weight_grad] got grad of ", grad.sizes(), ", input of ", input.sizes(),
              " and indices of strides ", indices.strides(),
              ". Expected (T, out), (T, in) and contiguous indices.");
  if (!has_kernel(grad, input) || is_dense(indices, grad.size(1) * input.size(1))) {
    return dense_then_gather(grad, input, indices);
  }
  const Indices span = index_span(indices);
  const auto rows = find_whole_rows(span, input.size(1));
  const torch::Tensor dense_grad = grad.contiguous(), dense_input = input.contiguous();
  if (rows.empty()) return sampled_entries(dense_grad, dense_input, span);
  return with_whole_rows(dense_grad, dense_input, span, rows);
}

torch::Tensor sampled_convolution_grad(const ConvolutionShape& shape, const torch::Tensor& grad,
                                       const torch::Tensor& input, const torch::Tensor& indices) {
  const std::int64_t entries = shape.out * shape.in * shape.kernel[0] * shape.kernel[1];
  if (!has_kernel(grad, input) || is_dense(indices, entries)) {
    const torch::Tensor dense = dense_convolution_grad(shape, grad, input);
    return dense.reshape({-1}).index_select(0, indices);
  }
  torch::Tensor values = at::empty({indices.numel()}, grad.options().dtype(torch::kFloat32));
  sampled_convolution(shape, grad.contiguous().const_data_ptr(),
                      input.contiguous().const_data_ptr(), index_span(indices),
                      values.mutable_data_ptr<float>());
  return values;
}

}  // namespace shira
