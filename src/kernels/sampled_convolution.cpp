// A position of the output is a token: the gradient has a row for each output channel already, and
// the unfolded input (what each entry of the kernel sees) gets one for each column of the weight, a
// block of positions at a time, so that it never exists whole.
#include "float_items.h"
#include "sampled_block.h"

#include <shira/base/error.h>
#include <shira/kernels/parallel.h>
#include <shira/kernels/sampled_convolution.h>

#include <algorithm>
#include <type_traits>

namespace shira {
namespace {

constexpr std::int64_t kRowsATask = 64;

/// Positions [begin, begin + count) of one sample's output.
struct Positions {
  std::int64_t begin;
  std::int64_t count;
};

/// Columns [begin, end) of output row `y` in a block, and where they lie in the scratch.
struct RowPiece {
  std::int64_t y;
  std::int64_t begin;
  std::int64_t end;
  std::int64_t at;
};

/// Calls body(piece) for the parts of output rows that the positions are.
template <typename Body>
void for_each_piece(const Positions& positions, std::int64_t width, Body body) {
  for (std::int64_t at = 0; at < positions.count;) {
    const std::int64_t position = positions.begin + at;
    const std::int64_t x = position % width;
    const std::int64_t length = std::min(width - x, positions.count - at);
    body(RowPiece{position / width, x, x + length, at});
    at += length;
  }
}

/// The first i for which i * stride + shift >= limit.
std::int64_t first_at_least(std::int64_t limit, std::int64_t shift, std::int64_t stride) {
  const std::int64_t distance = limit - shift;
  return distance <= 0 ? 0 : (distance + stride - 1) / stride;
}

/// What kernel entry (channel, ky, kx) sees at `positions`, zero beyond the input's edges.
template <typename T>
void unfold(const ConvolutionShape& shape, const T* channel, std::int64_t ky, std::int64_t kx,
            const Positions& positions, float* to) {
  const auto [height, width] = shape.input_size;
  const std::int64_t stride = shape.stride[1];
  const std::int64_t shift = kx * shape.dilation[1] - shape.padding[1];
  std::fill_n(to, positions.count, 0.0F);
  for_each_piece(positions, shape.output_size[1], [&](const RowPiece& piece) {
    const std::int64_t y = piece.y * shape.stride[0] + ky * shape.dilation[0] - shape.padding[0];
    if (y < 0 || y >= height) return;
    const T* row = channel + y * width + shift;
    float* out = to + piece.at - piece.begin;
    const std::int64_t begin = std::max(piece.begin, first_at_least(0, shift, stride));
    const std::int64_t end = std::min(piece.end, first_at_least(width, shift, stride));
    for (std::int64_t x = begin; x < end; ++x) out[x] = static_cast<float>(row[x * stride]);
  });
}

template <typename T>
void fill_right(const ConvolutionShape& shape, const T* sample, const Positions& positions,
                const detail::SampledBlock& block) {
  const std::int64_t kernel_size = shape.kernel[0] * shape.kernel[1];
  const std::int64_t channel_size = shape.input_size[0] * shape.input_size[1];
  parallel_chunks(block.columns, kRowsATask,
                  [&](std::int64_t begin, std::int64_t end, std::int64_t) {
                    for (std::int64_t column = begin; column < end; ++column) {
                      float* row = block.right.get() + column * block.stride;
                      const std::int64_t entry = column % kernel_size;
                      unfold(shape, sample + column / kernel_size * channel_size,
                             entry / shape.kernel[1], entry % shape.kernel[1], positions, row);
                      std::fill(row + positions.count, row + block.stride, 0.0F);
                    }
                  });
}

template <typename T>
void fill_left(const T* sample, std::int64_t sample_positions, const Positions& positions,
               const detail::SampledBlock& block) {
  parallel_chunks(block.rows, kRowsATask, [&](std::int64_t begin, std::int64_t end, std::int64_t) {
    for (std::int64_t channel = begin; channel < end; ++channel) {
      const T* from = sample + channel * sample_positions + positions.begin;
      float* row = block.left.get() + channel * block.stride;
      std::transform(from, from + positions.count, row,
                     [](T value) { return static_cast<float>(value); });
      std::fill(row + positions.count, row + block.stride, 0.0F);
    }
  });
}

template <typename T>
void add_batch(const ConvolutionShape& shape, const T* grad, const T* input,
               const detail::SampledBlock& block) {
  const std::int64_t positions = shape.output_size[0] * shape.output_size[1];
  const std::int64_t input_size = shape.in * shape.input_size[0] * shape.input_size[1];
  for (std::int64_t sample = 0; sample < shape.batch; ++sample) {
    for (std::int64_t begin = 0; begin < positions; begin += detail::kBlockTokens) {
      const Positions part = {begin, std::min(detail::kBlockTokens, positions - begin)};
      fill_left(grad + sample * shape.out * positions, positions, part, block);
      fill_right(shape, input + sample * input_size, part, block);
      detail::add_sampled_entries(block);
    }
  }
}

}  // namespace

void sampled_convolution(const ConvolutionShape& shape, const void* grad, const void* input,
                         std::span<const std::int32_t> indices, float* entries) {
  const std::int64_t columns = shape.in * shape.kernel[0] * shape.kernel[1];
  const std::int64_t positions = shape.output_size[0] * shape.output_size[1];
  SHIRA_CHECK(ShapeError, shape.dtype == DType::kF32 || shape.dtype == DType::kBF16,
              "sampled_convolution: got dtype ", dtype_name(shape.dtype), ", expected F32 or BF16");
  std::fill_n(entries, indices.size(), 0.0F);
  if (indices.empty() || shape.batch * positions == 0) return;
  SHIRA_CHECK(ShapeError, indices.front() >= 0 && indices.back() < shape.out * columns,
              "sampled_convolution: indices from ", indices.front(), " to ", indices.back(),
              " do not lie in a weight of ", shape.out, " x ", columns, " entries");
  const detail::SampledBlock block(shape.out, columns, positions, indices, entries);
  detail::with_float_type("sampled_convolution", shape.dtype, [&](auto type) {
    using T = decltype(type);
    add_batch(shape, static_cast<const T*>(grad), static_cast<const T*>(input), block);
  });
}

}  // namespace shira
