// The gradient of a few entries of a convolution's weight.
#pragma once

#include <shira/base/dtype.h>
#include <shira/base/export.h>

#include <array>
#include <cstdint>
#include <span>

namespace shira {

/// A two-dimensional convolution without groups: input (batch, in, input_size), weight (out, in,
/// kernel), output (batch, out, output_size); pairs are (height, width).
struct ConvolutionShape {
  DType dtype = DType::kF32;  // of input and output
  std::int64_t batch = 0;
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::array<std::int64_t, 2> input_size = {};
  std::array<std::int64_t, 2> output_size = {};
  std::array<std::int64_t, 2> kernel = {};
  std::array<std::int64_t, 2> stride = {1, 1};
  std::array<std::int64_t, 2> padding = {0, 0};
  std::array<std::int64_t, 2> dilation = {1, 1};
};

/// entries[k] = the gradient of the weight's entry at the flat position indices[k], from `grad`
/// (batch, out, output_size), that of the output, and `input`; both contiguous, F32 or BF16.
/// `indices` rise. Products and sums are float32, and do not depend on the number of threads.
/// ShapeError for other dtypes, and for indices out of range.
SHIRA_API void sampled_convolution(const ConvolutionShape& shape, const void* grad,
                                   const void* input, std::span<const std::int32_t> indices,
                                   float* entries);

}  // namespace shira
