// Why it is fast: both operands are laid out anew, a block of tokens at a time, so that a row of
// the scratch holds all tokens of a feature; an entry of the product then is one contiguous dot
// product. The block and the panel of columns are so small that the right operand stays in the
// second-level cache while all rows go over it; the left one streams. Eight entries share the
// loads of their row's values and one reduction of their sums.
//
// Highway compiles this file once for each instruction set and picks the best one at run time.
#include <shira/base/error.h>
#include <shira/kernels/parallel.h>
#include <shira/kernels/sampled_product.h>

#include <algorithm>
#include <cstddef>
#include <vector>

// clang-format off: foreach_target.h includes this file again, and the others need it first
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/kernels/sampled_product.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include <hwy/aligned_allocator.h>
#include "float_vectors-inl.h"
// clang-format on

#ifndef SHIRA_KERNELS_SAMPLED_PRODUCT_ONCE
#define SHIRA_KERNELS_SAMPLED_PRODUCT_ONCE
namespace shira {
namespace {

// The fastest of 64 to 512 tokens and 512 to 4096 columns at 4096 x 4096, 1 %, on a Zen 5.
constexpr std::int64_t kBlockTokens = 128;
constexpr std::int64_t kPanelColumns = 2048;
constexpr std::int64_t kTurnedFeatures = 512;  // a task
constexpr std::int64_t kLeastRows = 128;       // a task
constexpr std::int64_t kLeastTerms = 500000;   // a task: some 30 microseconds
constexpr std::int64_t kGroup = 8;

/// Tokens [begin, begin + count) of one matrix, `stride` apart once they are laid out anew.
struct TokenBlock {
  TokenMatrix matrix;
  std::int64_t begin;
  std::int64_t count;
  std::int64_t stride;
};

/// Both operands of a block as (width, stride).
struct SampledBlock {
  const float* left;
  const float* right;
  std::int64_t stride;
  std::int64_t columns;
  std::span<const std::int32_t> indices;
  float* out;
};

}  // namespace
}  // namespace shira
#endif

HWY_BEFORE_NAMESPACE();
namespace shira {
namespace HWY_NAMESPACE {
namespace {

using Floats = hn::ScalableTag<float>;
using Vector = hn::Vec<Floats>;
using Wide = hn::Repartition<double, Floats>;  // to move two floats as one

inline float as_float(float value) { return value; }
inline float as_float(hwy::bfloat16_t value) { return hwy::F32FromBF16(value); }

#if HWY_TARGET != HWY_SCALAR
/// Four tokens of as many features as a vector has lanes, from `from` to out + feature * stride.
template <typename T>
void transpose_four(const T* from, std::int64_t width, float* out, std::int64_t stride) {
  const Floats d;
  const Wide wide;
  const hn::FixedTag<float, 4> four;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector token0 = load(d, from);
  const Vector token1 = load(d, from + width);
  const Vector token2 = load(d, from + 2 * width);
  const Vector token3 = load(d, from + 3 * width);
  const auto low01 = hn::BitCast(wide, hn::InterleaveLower(d, token0, token1));
  const auto high01 = hn::BitCast(wide, hn::InterleaveUpper(d, token0, token1));
  const auto low23 = hn::BitCast(wide, hn::InterleaveLower(d, token2, token3));
  const auto high23 = hn::BitCast(wide, hn::InterleaveUpper(d, token2, token3));
  // Each 128-bit part of turned[j] is feature j of the four that the part came from.
  HWY_ALIGN float turned[4][HWY_MAX_BYTES / sizeof(float)];
  hn::Store(hn::BitCast(d, hn::InterleaveLower(wide, low01, low23)), d, turned[0]);
  hn::Store(hn::BitCast(d, hn::InterleaveUpper(wide, low01, low23)), d, turned[1]);
  hn::Store(hn::BitCast(d, hn::InterleaveLower(wide, high01, high23)), d, turned[2]);
  hn::Store(hn::BitCast(d, hn::InterleaveUpper(wide, high01, high23)), d, turned[3]);
  for (std::int64_t part = 0; part < lanes; part += 4) {
    for (std::int64_t j = 0; j < 4; ++j) {
      hn::StoreU(hn::Load(four, turned[j] + part), four, out + (part + j) * stride);
    }
  }
}
#endif

template <typename T>
void transpose_as(const TokenBlock& block, std::int64_t begin, std::int64_t end, float* out) {
  const std::int64_t width = block.matrix.width, stride = block.stride;
  const T* tokens = static_cast<const T*>(block.matrix.data) + block.begin * width;
  std::int64_t t = 0;
#if HWY_TARGET != HWY_SCALAR
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(Floats()));
  const std::int64_t vector_end = begin + (end - begin) / lanes * lanes;
  for (; t + 4 <= block.count; t += 4) {
    const T* from = tokens + t * width;
    for (std::int64_t i = begin; i < vector_end; i += lanes) {
      transpose_four(from + i, width, out + i * stride + t, stride);
    }
    for (std::int64_t i = vector_end; i < end; ++i) {
      for (std::int64_t j = 0; j < 4; ++j) out[i * stride + t + j] = as_float(from[j * width + i]);
    }
  }
#endif
  for (; t < stride; ++t) {
    for (std::int64_t i = begin; i < end; ++i) {
      out[i * stride + t] = t < block.count ? as_float(tokens[t * width + i]) : 0.0F;
    }
  }
}

/// Features [begin, end) of the block, to out + feature * stride; zeros after the last token.
void transpose(const TokenBlock& block, std::int64_t begin, std::int64_t end, float* out) {
  if (block.matrix.dtype == DType::kF32) return transpose_as<float>(block, begin, end, out);
  transpose_as<hwy::bfloat16_t>(block, begin, end, out);
}

/// sums[i] = all lanes of the i-th argument.
inline void reduce_four(Vector a, Vector b, Vector c, Vector e, float* sums) {
#if HWY_TARGET == HWY_SCALAR
  sums[0] = hn::GetLane(a), sums[1] = hn::GetLane(b);
  sums[2] = hn::GetLane(c), sums[3] = hn::GetLane(e);
#else
  const Floats d;
  const Wide wide;
  const hn::FixedTag<float, 4> four;
  const auto ab =
      hn::BitCast(wide, hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b)));
  const auto ce =
      hn::BitCast(wide, hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e)));
  const Vector parts = hn::Add(hn::BitCast(d, hn::InterleaveLower(wide, ab, ce)),
                               hn::BitCast(d, hn::InterleaveUpper(wide, ab, ce)));
  HWY_ALIGN float stored[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(parts, d, stored);
  auto sum = hn::Load(four, stored);
  for (std::size_t part = 4; part < hn::Lanes(d); part += 4) {
    sum = hn::Add(sum, hn::Load(four, stored + part));
  }
  hn::StoreU(sum, four, sums);
#endif
}

inline void dot_four(const float* row, const float* const* columns, std::int64_t count,
                     float* sums) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  Vector sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (std::int64_t t = 0; t < count; t += lanes) {
    const Vector value = hn::Load(d, row + t);
    sum0 = hn::MulAdd(value, hn::Load(d, columns[0] + t), sum0);
    sum1 = hn::MulAdd(value, hn::Load(d, columns[1] + t), sum1);
    sum2 = hn::MulAdd(value, hn::Load(d, columns[2] + t), sum2);
    sum3 = hn::MulAdd(value, hn::Load(d, columns[3] + t), sum3);
  }
  reduce_four(sum0, sum1, sum2, sum3, sums);
}

inline void dot_eight(const float* row, const float* const* columns, std::int64_t count,
                      float* sums) {
  const Floats d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const float *column0 = columns[0], *column1 = columns[1], *column2 = columns[2],
              *column3 = columns[3], *column4 = columns[4], *column5 = columns[5],
              *column6 = columns[6], *column7 = columns[7];
  Vector sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  Vector sum4 = sum0, sum5 = sum0, sum6 = sum0, sum7 = sum0;
  for (std::int64_t t = 0; t < count; t += lanes) {
    const Vector value = hn::Load(d, row + t);
    sum0 = hn::MulAdd(value, hn::Load(d, column0 + t), sum0);
    sum1 = hn::MulAdd(value, hn::Load(d, column1 + t), sum1);
    sum2 = hn::MulAdd(value, hn::Load(d, column2 + t), sum2);
    sum3 = hn::MulAdd(value, hn::Load(d, column3 + t), sum3);
    sum4 = hn::MulAdd(value, hn::Load(d, column4 + t), sum4);
    sum5 = hn::MulAdd(value, hn::Load(d, column5 + t), sum5);
    sum6 = hn::MulAdd(value, hn::Load(d, column6 + t), sum6);
    sum7 = hn::MulAdd(value, hn::Load(d, column7 + t), sum7);
  }
  reduce_four(sum0, sum1, sum2, sum3, sums);
  reduce_four(sum4, sum5, sum6, sum7, sums + 4);
}

/// Adds to the entries [begin, end), which lie in one row.
void add_dots(const SampledBlock& block, std::int64_t row, std::size_t begin, std::size_t end) {
  const float* left = block.left + row * block.stride;
  const auto column = [&](std::size_t k) {
    return block.right + (block.indices[k] - row * block.columns) * block.stride;
  };
  const float* columns[kGroup];
  float sums[kGroup];
  std::size_t k = begin;
  for (; k + kGroup <= end; k += kGroup) {
    for (std::size_t j = 0; j < kGroup; ++j) columns[j] = column(k + j);
    dot_eight(left, columns, block.stride, sums);
    for (std::size_t j = 0; j < kGroup; ++j) block.out[k + j] += sums[j];
  }
  for (; k < end; k += 4) {
    const std::size_t count = std::min<std::size_t>(4, end - k);
    for (std::size_t j = 0; j < 4; ++j) columns[j] = column(k + std::min(j, count - 1));
    dot_four(left, columns, block.stride, sums);
    for (std::size_t j = 0; j < count; ++j) block.out[k + j] += sums[j];
  }
}

/// Adds to the entries of rows [begin, end).
void add_rows(const SampledBlock& block, std::int64_t begin, std::int64_t end) {
  const auto first_in = [&](std::int64_t row) {
    return static_cast<std::size_t>(std::ranges::lower_bound(block.indices, row * block.columns) -
                                    block.indices.begin());
  };
  std::vector<std::size_t> next;  // of each row: the first entry that no panel had yet
  for (std::int64_t row = begin; row < end; ++row) next.push_back(first_in(row));
  for (std::int64_t panel = 0; panel < block.columns; panel += kPanelColumns) {
    const std::int64_t panel_end = std::min(panel + kPanelColumns, block.columns);
    for (std::int64_t row = begin; row < end; ++row) {
      const std::size_t first = next[row - begin];
      std::size_t last = first;
      const std::int64_t limit = row * block.columns + panel_end;
      while (last < block.indices.size() && block.indices[last] < limit) ++last;
      add_dots(block, row, first, last);
      next[row - begin] = last;
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace shira
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shira {
namespace {

HWY_EXPORT(transpose);
HWY_EXPORT(add_rows);

using Scratch = hwy::AlignedFreeUniquePtr<float[]>;

/// No vector is longer than 64 floats.
std::int64_t padded(std::int64_t tokens) { return (tokens + 63) / 64 * 64; }

/// How many of the rows make a task, entries and tokens being what they are.
std::int64_t row_grain(const SampledBlock& block, std::int64_t rows, std::int64_t tokens) {
  const std::int64_t terms = static_cast<std::int64_t>(block.indices.size()) * tokens;
  return std::max(kLeastRows, rows * kLeastTerms / terms);
}

void transpose_all(const TokenBlock& block, float* out) {
  parallel_chunks(block.matrix.width, kTurnedFeatures,
                  [&](std::int64_t begin, std::int64_t end, std::int64_t) {
                    HWY_DYNAMIC_DISPATCH(transpose)(block, begin, end, out);
                  });
}

void check_matrix(const TokenMatrix& matrix) {
  SHIRA_CHECK(ShapeError, matrix.dtype == DType::kF32 || matrix.dtype == DType::kBF16,
              "sampled_product: got dtype ", dtype_name(matrix.dtype), ", expected F32 or BF16");
}

}  // namespace

void sampled_product(const TokenMatrix& left, const TokenMatrix& right, std::int64_t tokens,
                     std::span<const std::int32_t> indices, float* out) {
  check_matrix(left);
  check_matrix(right);
  std::fill_n(out, indices.size(), 0.0F);
  if (indices.empty() || tokens == 0) return;
  SHIRA_CHECK(ShapeError, indices.front() >= 0 && indices.back() < left.width * right.width,
              "sampled_product: indices from ", indices.front(), " to ", indices.back(),
              " do not lie in a matrix (", left.width, ", ", right.width, ")");
  const std::int64_t stride = padded(std::min(tokens, kBlockTokens));
  const Scratch left_scratch = hwy::AllocateAligned<float>(left.width * stride);
  const Scratch right_scratch = hwy::AllocateAligned<float>(right.width * stride);
  const SampledBlock block = {
      left_scratch.get(), right_scratch.get(), stride, right.width, indices, out};
  for (std::int64_t begin = 0; begin < tokens; begin += kBlockTokens) {
    const std::int64_t count = std::min(kBlockTokens, tokens - begin);
    transpose_all({left, begin, count, stride}, left_scratch.get());
    transpose_all({right, begin, count, stride}, right_scratch.get());
    parallel_chunks(left.width, row_grain(block, left.width, count),
                    [&](std::int64_t first, std::int64_t end, std::int64_t) {
                      HWY_DYNAMIC_DISPATCH(add_rows)(block, first, end);
                    });
  }
}

}  // namespace shira
#endif  // HWY_ONCE
