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

/// Coded indices on somebody's memory, to be decoded block by block, in any order and on any
/// thread. Errors are IoError("index codec: ...").
class SHIRA_API IndexDecoder {
 public:
  /// Exactly `count` indices below `limit`. IoError when that many cannot be in so many bytes, or
  /// when the restarts do not cut the bytes into blocks.
  IndexDecoder(std::span<const std::uint8_t> gaps, std::vector<std::int64_t> restarts,
               std::int64_t count, std::int64_t limit);

  std::int64_t count() const { return count_; }
  /// Each has kIndexBlock indices, the last one what is left.
  std::int64_t blocks() const { return (count_ + kIndexBlock - 1) / kIndexBlock; }

  /// Writes the block's indices to their places in `out`, which is for all `count` of them. IoError
  /// when the bytes hold another number of indices, an index at or above the limit, a repeated one
  /// (gap 0 after the first), or not the one that the next restart names.
  void decode_block(std::int64_t block, std::span<std::int32_t> out) const;

 private:
  std::span<const std::uint8_t> gaps_;
  std::vector<std::int64_t> restarts_;
  std::int64_t count_;
  std::int64_t limit_;
};

/// All of them.
SHIRA_API std::vector<std::int32_t> decode_indices(const IndexDecoder& decoder);

}  // namespace shira
