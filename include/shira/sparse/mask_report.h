// What a mask looks like in numbers.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/sparse_mask.h>

#include <cstdint>

namespace shira {

/// A mask as the matrix (out, in); a convolution's (out, in, kh, kw) is (out, in * kh * kw).
struct MaskReport {
  std::int64_t nnz = 0;
  double density = 0.0;
  std::int64_t structural_rank = 0;  // the highest rank that the trained change can have
  std::int64_t rows = 0;             // that hold an entry
  std::int64_t columns = 0;          // likewise
};

SHIRA_API MaskReport describe_mask(const SparseMask& mask);

}  // namespace shira
