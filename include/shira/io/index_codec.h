// How an adapter file stores sorted positions: gaps of one byte each.
//
// The first gap is the first index itself, every further one is (index - previous index); a gap is
// written as gap / 255 bytes of value 255 ("add 255 and continue") and one byte gap % 255. Every
// kIndexBlock entries a restart point holds the last index before the block and the byte offset
// where the block's first gap starts, for parallel decoding and bounds checks.
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <span>
#include <vector>

namespace shira {

inline constexpr std::int64_t kIndexBlock = 65536;

struct EncodedIndices {
  std::vector<std::uint8_t> gaps;
  /// For block b = 1, 2, ...: {index of entry b * kIndexBlock - 1, byte offset of entry b *
  /// kIndexBlock's gap}, flattened to pairs. Empty for fewer than kIndexBlock + 1 entries.
  std::vector<std::int64_t> restarts;
};

/// `indices` are sorted, unique and not negative (ShapeError otherwise).
SHIRA_API EncodedIndices encode_indices(std::span<const std::int32_t> indices);

/// Decodes exactly `count` indices below `limit`. IoError("...") when the bytes hold another count,
/// an index at or above the limit, a repeated index (gap 0 after the first), trailing bytes, or
/// restarts that disagree.
SHIRA_API std::vector<std::int32_t> decode_indices(std::span<const std::uint8_t> gaps,
                                                   std::span<const std::int64_t> restarts,
                                                   std::int64_t count, std::int64_t limit);

}  // namespace shira
