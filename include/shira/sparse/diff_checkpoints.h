// The exact difference of two checkpoints as an adapter.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/merge_checkpoint.h>
#include <shira/sparse/sparse_adapter.h>

#include <cstdint>
#include <filesystem>

namespace shira {

/// A tensor more of whose entries differ is held whole.
inline constexpr double kLargestSparseShare = 0.3;

struct CheckpointDiff {
  SparseAdapter adapter;       // mask_type "diff"; what is held whole lies in the tuned files
  std::int64_t unchanged = 0;  // tensors
};

/// What makes `base` into `tuned`, both HuggingFace directories of any dtypes, bit for bit:
/// merge_checkpoint of it gives every tensor of `tuned`. A tensor is sparse, or whole where more
/// than kLargestSparseShare of its entries differ, its shape or dtype does, it has 2^31 entries or
/// more, or `base` does not have it. One tensor is compared at a time; the result is in memory.
SHIRA_API CheckpointDiff diff_checkpoints(const std::filesystem::path& base,
                                          const std::filesystem::path& tuned,
                                          const ByteProgress& progress = {});

}  // namespace shira
