// A full checkpoint with adapters applied, written without holding a model: any HuggingFace
// directory will do.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/weight_patch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

namespace shira {

/// Called as work goes on: bytes done, bytes of all.
using ByteProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

struct MergeOptions {
  bool force = false;  // accept adapters made for another base
  ByteProgress progress;
};

struct MergeReport {
  std::int64_t tensors = 0;   // of the result
  std::int64_t patched = 0;   // those of which entries changed
  std::int64_t replaced = 0;  // those that became others whole
  std::int64_t added = 0;
  std::int64_t removed = 0;
  std::uint64_t bytes = 0;  // of the result's tensors
};

/// Writes the checkpoint `base` with `adapters` applied into the new directory `output`, complete
/// or not at all. Every tensor keeps its dtype, and untouched ones their bytes; the files keep
/// their names, and those that no adapter touches all their bytes. A tensor that an adapter adds
/// goes into the last file. One tensor is in memory at a time. Tokenizer and configuration are
/// copied. One Error lists everything that does not fit before anything is written; IoError when
/// `output` exists or cannot be written.
SHIRA_API MergeReport merge_checkpoint(const std::filesystem::path& base,
                                       const std::vector<ScaledAdapter>& adapters,
                                       const std::filesystem::path& output,
                                       const MergeOptions& options = {});

}  // namespace shira
