// Both operands are laid out anew, a block of tokens at a time, so that a row of the scratch holds
// all tokens of a feature.
//
// Highway compiles this file once for each instruction set and picks the best one at run time.
#include "sampled_block.h"

#include <shira/base/error.h>
#include <shira/kernels/parallel.h>
#include <shira/kernels/sampled_product.h>

#include <algorithm>

// clang-format off: foreach_target.h includes this file again, and the others need it first
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/kernels/sampled_product.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "float_vectors-inl.h"
// clang-format on

#ifndef SHIRA_KERNELS_SAMPLED_PRODUCT_ONCE
#define SHIRA_KERNELS_SAMPLED_PRODUCT_ONCE
namespace shira {
namespace {

constexpr std::int64_t kTurnedFeatures = 512;  // a task

/// Tokens [begin, begin + count) of one matrix, `stride` apart once they are laid out anew.
struct TokenBlock {
  TokenMatrix matrix;
  std::int64_t begin;
  std::int64_t count;
  std::int64_t stride;
};

}  // namespace
}  // namespace shira
#endif

HWY_BEFORE_NAMESPACE();
namespace shira {
namespace HWY_NAMESPACE {
namespace {

inline float as_float(float value) { return value; }
inline float as_float(hwy::bfloat16_t value) { return hwy::F32FromBF16(value); }

#if HWY_TARGET != HWY_SCALAR
/// Four tokens of as many features as a vector has lanes, from `from` to out + feature * stride.
template <typename T>
void transpose_four(const T* from, std::int64_t width, float* out, std::int64_t stride) {
  const Floats d;
  const FloatPairs wide;
  const hn::FixedTag<float, 4> four;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const FloatVector token0 = load(d, from);
  const FloatVector token1 = load(d, from + width);
  const FloatVector token2 = load(d, from + 2 * width);
  const FloatVector token3 = load(d, from + 3 * width);
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

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace shira
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shira {
namespace {

HWY_EXPORT(transpose);

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
  const detail::SampledBlock block(left.width, right.width, tokens, indices, out);
  for (std::int64_t begin = 0; begin < tokens; begin += detail::kBlockTokens) {
    const std::int64_t count = std::min(detail::kBlockTokens, tokens - begin);
    transpose_all({left, begin, count, block.stride}, block.left.get());
    transpose_all({right, begin, count, block.stride}, block.right.get());
    detail::add_sampled_entries(block);
  }
}

}  // namespace shira
#endif  // HWY_ONCE
