// Why it is fast: an entry is one contiguous dot product, of a row of the left operand and a row of
// the right one. Blocks of tokens and panels of columns are so small that the right operand stays
// in the second-level cache while all rows go over it; the left one streams. Eight entries share
// the loads of their row's values and one reduction of their sums.
//
// Highway compiles this file once for each instruction set and picks the best one at run time.
#include "sampled_block.h"

#include <shira/kernels/parallel.h>

#include <algorithm>
#include <cstddef>
#include <vector>

// clang-format off: foreach_target.h includes this file again, and the others need it first
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "src/kernels/sampled_block.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "float_vectors-inl.h"
// clang-format on

#ifndef SHIRA_KERNELS_SAMPLED_BLOCK_ONCE
#define SHIRA_KERNELS_SAMPLED_BLOCK_ONCE
namespace shira {
namespace {

// The fastest of 512 to 4096 columns at 4096 x 4096, 1 %, on a Zen 5.
constexpr std::int64_t kPanelColumns = 2048;
constexpr std::int64_t kLeastRows = 128;      // a task
constexpr std::int64_t kLeastTerms = 500000;  // a task: some 30 microseconds
constexpr std::int64_t kGroup = 8;

}  // namespace
}  // namespace shira
#endif

HWY_BEFORE_NAMESPACE();
namespace shira {
namespace HWY_NAMESPACE {
namespace {

/// sums[i] = all lanes of the i-th argument.
inline void reduce_four(FloatVector a, FloatVector b, FloatVector c, FloatVector e, float* sums) {
#if HWY_TARGET == HWY_SCALAR
  sums[0] = hn::GetLane(a), sums[1] = hn::GetLane(b);
  sums[2] = hn::GetLane(c), sums[3] = hn::GetLane(e);
#else
  const Floats d;
  const FloatPairs wide;
  const hn::FixedTag<float, 4> four;
  const auto ab =
      hn::BitCast(wide, hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b)));
  const auto ce =
      hn::BitCast(wide, hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e)));
  const FloatVector parts = hn::Add(hn::BitCast(d, hn::InterleaveLower(wide, ab, ce)),
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
  FloatVector sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (std::int64_t t = 0; t < count; t += lanes) {
    const FloatVector value = hn::Load(d, row + t);
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
  FloatVector sum0 = hn::Zero(d), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  FloatVector sum4 = sum0, sum5 = sum0, sum6 = sum0, sum7 = sum0;
  for (std::int64_t t = 0; t < count; t += lanes) {
    const FloatVector value = hn::Load(d, row + t);
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
void add_dots(const detail::SampledBlock& block, std::int64_t row, std::size_t begin,
              std::size_t end) {
  const float* left = block.left.get() + row * block.stride;
  const auto column = [&](std::size_t k) {
    return block.right.get() + (block.indices[k] - row * block.columns) * block.stride;
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
void add_rows(const detail::SampledBlock& block, std::int64_t begin, std::int64_t end) {
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

HWY_EXPORT(add_rows);

/// How many of the rows make a task, entries and tokens being what they are.
std::int64_t row_grain(const detail::SampledBlock& block) {
  const std::int64_t terms = static_cast<std::int64_t>(block.indices.size()) * block.stride;
  return std::max(kLeastRows, block.rows * kLeastTerms / terms);
}

}  // namespace

void detail::add_sampled_entries(const SampledBlock& block) {
  parallel_chunks(block.rows, row_grain(block),
                  [&](std::int64_t begin, std::int64_t end, std::int64_t) {
                    HWY_DYNAMIC_DISPATCH(add_rows)(block, begin, end);
                  });
}

}  // namespace shira
#endif  // HWY_ONCE
