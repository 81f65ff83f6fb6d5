// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11): random
// numbers as a pure function of a counter and a key, the same on every platform.
#pragma once

#include <shira/base/export.h>

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace shira {

/// The generator itself: ten rounds over one counter.
SHIRA_API std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key);

/// The random numbers that belong to a seed and a name ("rand mask of model.layers.0..."). The key
/// is the seed; the counter's upper half is FNV-1a 64 of the name's bytes, its lower half counts
/// blocks of four numbers. So streams of different seeds or names do not overlap.
class SHIRA_API PhiloxStream {
 public:
  PhiloxStream(std::uint64_t seed, std::string_view name);

  std::uint32_t next_u32();
  /// Two next_u32(), the first one low.
  std::uint64_t next_u64();
  /// Uniform in [0, 1): the upper 53 bits of next_u64().
  double next_double();
  /// Uniform in [0, n), without bias; ShapeError for n = 0.
  std::uint64_t bounded(std::uint64_t n);

  /// How many next_u32() have been drawn: save it, and seek() continues there.
  std::uint64_t position() const { return position_; }
  void seek(std::uint64_t position);

 private:
  void load_block();

  std::uint64_t seed_;
  std::uint64_t name_hash_;
  std::uint64_t position_ = 0;
  std::array<std::uint32_t, 4> block_{};  // holds number position_, unless position_ % 4 == 0
};

/// Exactly `count` of the integers below `population` (at most 2^31), every such set equally
/// likely, sorted. Costs `count` draws and population / 8 bytes. ShapeError unless 0 <= count <=
/// population.
SHIRA_API std::vector<std::int32_t> sample_without_replacement(PhiloxStream& stream,
                                                               std::int64_t population,
                                                               std::int64_t count);

/// 0, 1, ..., n - 1 in an order drawn from all with equal chance. ShapeError for a negative n.
SHIRA_API std::vector<std::int64_t> random_permutation(PhiloxStream& stream, std::int64_t n);

}  // namespace shira
