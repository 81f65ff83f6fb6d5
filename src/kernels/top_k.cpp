// A radix selection: floats that are not negative order as their bit patterns do, so a histogram of
// the upper 16 bits finds where a rank lies, and one of the lower 16 bits finds it exactly.
#include <shira/base/error.h>
#include <shira/kernels/top_k.h>

#include <bit>

namespace shira {
namespace {

using Histogram = std::vector<std::uint32_t>;
constexpr std::size_t kBins = std::size_t{1} << 16;
constexpr std::int64_t kMostScores = std::int64_t{1} << 31;
constexpr std::uint32_t kInfinity = 0x7f800000;
constexpr std::uint32_t kMinusZero = 0x80000000;

/// The bit pattern; that of +0 for -0, which is a valid score too.
std::uint32_t bits_of(float score) {
  const auto bits = std::bit_cast<std::uint32_t>(score);
  return bits == kMinusZero ? 0 : bits;
}

[[noreturn]] void throw_bad_score(std::span<const float> scores, std::size_t index) {
  throw ShapeError(detail::concat("top_k_band: got score ", scores[index], " at index ", index,
                                  ", expected 0 or more and no NaN"));
}

/// Counts the upper halves; the one place where scores are checked.
Histogram count_upper(std::span<const float> scores) {
  Histogram histogram(kBins);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::uint32_t bits = bits_of(scores[i]);
    if (bits > kInfinity) throw_bad_score(scores, i);
    ++histogram[bits >> 16];
  }
  return histogram;
}

/// Counts the lower halves of the scores with this upper half.
Histogram count_lower(std::span<const float> scores, std::uint32_t upper) {
  Histogram histogram(kBins);
  for (const float score : scores) {
    const std::uint32_t bits = bits_of(score);
    if (bits >> 16 == upper) ++histogram[bits & 0xffff];
  }
  return histogram;
}

/// Steps `rank` down from the highest bin; returns the bin that it falls into and leaves the rank
/// within that bin.
std::uint32_t descend(const Histogram& histogram, std::int64_t& rank) {
  std::uint32_t bin = kBins - 1;
  while (rank >= histogram[bin]) rank -= histogram[bin--];
  return bin;
}

/// Tells, for one entry after the other in index order, whether it is among the first `rank`.
struct Cutoff {
  std::uint32_t bits = 0xffffffff;  // entries above it are in
  std::int64_t ties = 0;            // and so many equal to it

  bool takes(std::uint32_t entry) {
    return entry > bits || (entry == bits && ties > 0 && ties-- > 0);
  }
};

/// The cutoff after the first `rank` entries.
Cutoff cutoff_after(std::int64_t rank, std::span<const float> scores, const Histogram& uppers) {
  if (rank == 0) return {};
  std::int64_t last = rank - 1;
  const std::uint32_t upper = descend(uppers, last);
  const std::uint32_t lower = descend(count_lower(scores, upper), last);
  return {upper << 16 | lower, last + 1};
}

}  // namespace

std::vector<std::int32_t> top_k_band(std::span<const float> scores, std::int64_t skip,
                                     std::int64_t count) {
  const auto size = static_cast<std::int64_t>(scores.size());
  SHIRA_CHECK(ShapeError, size <= kMostScores, "top_k_band: got ", size, " scores, at most 2^31");
  SHIRA_CHECK(ShapeError, 0 <= skip && skip <= size && 0 <= count && count <= size - skip,
              "top_k_band: got ranks ", skip, " to ", skip, " + ", count, " of ", size, " scores");
  const Histogram uppers = count_upper(scores);
  Cutoff before = cutoff_after(skip, scores, uppers);
  Cutoff within = cutoff_after(skip + count, scores, uppers);
  std::vector<std::int32_t> band;
  band.reserve(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::uint32_t bits = bits_of(scores[i]);
    const bool earlier = before.takes(bits);
    if (within.takes(bits) && !earlier) band.push_back(static_cast<std::int32_t>(i));
  }
  return band;
}

}  // namespace shira
