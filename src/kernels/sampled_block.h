// What the sampled products have in common: sums over a block of tokens whose operands lie in a
// scratch, a row for each feature.
#pragma once

#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <cstdint>
#include <span>

namespace shira::detail {

/// Tokens that go through the scratch at a time: the fastest of 64 to 512.
constexpr std::int64_t kBlockTokens = 128;

/// Both operands of a block, zeros after its last token, and the entries that get its sums. No
/// vector is longer than the 64 floats that the stride is a multiple of.
struct SampledBlock {
  SampledBlock(std::int64_t rows_in, std::int64_t columns_in, std::int64_t tokens,
               std::span<const std::int32_t> indices_in, float* out_in)
      : rows(rows_in),
        columns(columns_in),
        stride((std::min(tokens, kBlockTokens) + 63) / 64 * 64),
        left(hwy::AllocateAligned<float>(static_cast<std::size_t>(rows * stride))),
        right(hwy::AllocateAligned<float>(static_cast<std::size_t>(columns * stride))),
        indices(indices_in),
        out(out_in) {}

  std::int64_t rows;
  std::int64_t columns;
  std::int64_t stride;
  hwy::AlignedFreeUniquePtr<float[]> left;   // (rows, stride)
  hwy::AlignedFreeUniquePtr<float[]> right;  // (columns, stride)
  std::span<const std::int32_t> indices;     // row * columns + column, rising
  float* out;                                // (indices)
};

/// out[k] += sum of left[row_k] * right[column_k], on all threads.
void add_sampled_entries(const SampledBlock& block);

}  // namespace shira::detail
