// Floats order by magnitude as their bits without the sign do. A sample tells between which two
// keys the band's ends lie; one pass compares all values with the lower one, 16 at a time and
// vectorised, and keeps the few that reach it; the exact selection is among those. So the cost is
// that of reading the values once. A sample that misled is noticed by counting, and the whole then
// stands in for it.
#include <shira/base/error.h>
#include <shira/kernels/parallel.h>
#include <shira/kernels/top_k.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

namespace shira {
namespace {

constexpr std::int64_t kMostValues = std::int64_t{1} << 31;
/// A prime, lest the sample fall in step with a matrix's rows.
constexpr std::int64_t kSampleStride = 257;
constexpr std::size_t kBlock = 16;
constexpr std::int64_t kGrain = std::int64_t{1} << 18;

template <typename Key>
constexpr Key without_sign(Key bits) {
  return static_cast<Key>(bits & std::numeric_limits<Key>::max());
}

/// Values and the key of infinity; a key is a value's bits without the sign.
template <typename Key>
struct Values {
  const void* data;
  std::int64_t size;
  Key infinity;

  const std::byte* at(std::int64_t index) const {
    return static_cast<const std::byte*>(data) + std::size_t(index) * sizeof(Key);
  }
  Key key(std::int64_t index) const {
    Key bits;
    std::memcpy(&bits, at(index), sizeof(Key));
    return without_sign(bits);
  }
};

/// Values above `high` rank before the band, those below `low` after it.
template <typename Key>
struct Bracket {
  Key low;
  Key high;
};

template <typename Key>
struct Candidate {
  std::int32_t index;
  Key key;
};

/// What lies within a bracket, sorted by index, and the number of values above it.
template <typename Key>
struct Candidates {
  std::vector<Candidate<Key>> inside;
  std::int64_t above = 0;
};

struct Band {
  std::int64_t skip;
  std::int64_t count;
};

/// The key of rank `rank`; a key that bounds all others for a rank beyond either end.
template <typename Key>
Key key_of_rank(std::vector<Key>& keys, std::int64_t rank) {
  if (rank < 0) return std::numeric_limits<Key>::max();
  if (rank >= static_cast<std::int64_t>(keys.size())) return 0;
  const auto place = keys.begin() + rank;
  std::nth_element(keys.begin(), place, keys.end(), std::greater<>());
  return *place;
}

/// From every `stride`-th value: wide enough for six standard deviations of a random sample's
/// ranks, exact for a stride of 1.
template <typename Key>
Bracket<Key> bracket_by_sample(const Values<Key>& values, Band band, std::int64_t stride) {
  std::vector<Key> sample(static_cast<std::size_t>(chunk_count(values.size, stride)));
  for (std::size_t i = 0; i < sample.size(); ++i) sample[i] = values.key(std::int64_t(i) * stride);
  const auto margin = [&](std::int64_t rank) {
    return stride == 1 ? 0 : 8 + std::llround(6 * std::sqrt(static_cast<double>(rank)));
  };
  const std::int64_t first = band.skip / stride;
  const std::int64_t last = (band.skip + band.count - 1) / stride;
  return {key_of_rank(sample, last + margin(last)), key_of_rank(sample, first - margin(first))};
}

template <typename Key>
constexpr std::array<Key, kBlock> kBits = [] {
  std::array<Key, kBlock> bits{};
  for (std::size_t k = 0; k < kBlock; ++k) bits[k] = static_cast<Key>(1 << k);
  return bits;
}();

/// Bit k tells whether the k-th value of the block at `begin` reaches `low`. Written so that a
/// compiler makes vector instructions of it: one width throughout, no branch.
template <typename Key>
std::uint16_t reaching(const Values<Key>& values, std::int64_t begin, Key low) {
  std::array<Key, kBlock> block;
  std::memcpy(block.data(), values.at(begin), sizeof(block));
  Key found = 0;
  for (std::size_t k = 0; k < kBlock; ++k) {
    const Key all_or_none = static_cast<Key>(-Key(without_sign(block[k]) >= low));
    found |= all_or_none & kBits<Key>[k];
  }
  return static_cast<std::uint16_t>(found);
}

/// Adds the value at `index`, which is not below the bracket.
template <typename Key>
void add(const Values<Key>& values, std::int64_t index, Bracket<Key> bracket,
         Candidates<Key>& found) {
  const Key key = values.key(index);
  SHIRA_CHECK(ShapeError, key <= values.infinity, "top_k_band: got NaN at index ", index,
              ", expected values without NaN");
  if (key > bracket.high) {
    ++found.above;
  } else {
    found.inside.push_back({static_cast<std::int32_t>(index), key});
  }
}

template <typename Key>
Candidates<Key> collect_range(const Values<Key>& values, std::int64_t begin, std::int64_t end,
                              Bracket<Key> bracket) {
  Candidates<Key> found;
  for (; begin + std::int64_t{kBlock} <= end; begin += kBlock) {
    for (unsigned bits = reaching(values, begin, bracket.low); bits != 0; bits &= bits - 1) {
      add(values, begin + std::countr_zero(bits), bracket, found);
    }
  }
  for (; begin < end; ++begin) {
    if (values.key(begin) >= bracket.low) add(values, begin, bracket, found);
  }
  return found;
}

template <typename Key>
Candidates<Key> collect(const Values<Key>& values, Bracket<Key> bracket) {
  std::vector<Candidates<Key>> parts(static_cast<std::size_t>(chunk_count(values.size, kGrain)));
  parallel_chunks(
      values.size, kGrain, [&](std::int64_t begin, std::int64_t end, std::int64_t chunk) {
        parts[static_cast<std::size_t>(chunk)] = collect_range(values, begin, end, bracket);
      });
  std::size_t inside = 0;
  for (const Candidates<Key>& part : parts) inside += part.inside.size();
  Candidates<Key> all;
  all.inside.reserve(inside);
  for (Candidates<Key>& part : parts) {
    all.inside.insert(all.inside.end(), part.inside.begin(), part.inside.end());
    all.above += part.above;
    part = {};
  }
  return all;
}

/// Tells, for one entry after the other in index order, whether it is among the first `rank`.
template <typename Key>
class Cutoff {
 public:
  Cutoff(const std::vector<Candidate<Key>>& candidates, std::int64_t rank) : ties_(rank) {
    if (rank == 0) return;
    std::vector<Key> keys(candidates.size());
    std::ranges::transform(candidates, keys.begin(), &Candidate<Key>::key);
    key_ = key_of_rank(keys, rank - 1);
    ties_ -= std::ranges::count_if(keys, [this](Key key) { return key > key_; });
  }

  bool takes(Key key) { return key > key_ || (key == key_ && ties_-- > 0); }

 private:
  Key key_ = std::numeric_limits<Key>::max();
  std::int64_t ties_;
};

/// The band of the candidates, which hold it all.
template <typename Key>
std::vector<std::int32_t> select(const std::vector<Candidate<Key>>& candidates, Band band) {
  std::vector<std::int32_t> chosen;
  chosen.reserve(static_cast<std::size_t>(band.count));
  Cutoff<Key> before(candidates, band.skip);
  Cutoff<Key> within(candidates, band.skip + band.count);
  for (const auto& [index, key] : candidates) {
    const bool earlier = before.takes(key);
    if (within.takes(key) && !earlier) chosen.push_back(index);
  }
  return chosen;
}

template <typename Key>
std::vector<std::int32_t> band_of(const Values<Key>& values, Band band) {
  if (band.count == 0) return {};
  Candidates<Key> found = collect(values, bracket_by_sample(values, band, kSampleStride));
  const auto end = found.above + static_cast<std::int64_t>(found.inside.size());
  if (found.above > band.skip || end < band.skip + band.count) {
    found = collect(values, bracket_by_sample(values, band, 1));
  }
  return select(found.inside, {band.skip - found.above, band.count});
}

}  // namespace

std::vector<std::int32_t> top_k_band(const void* values, DType dtype, std::int64_t size,
                                     std::int64_t skip, std::int64_t count) {
  SHIRA_CHECK(ShapeError, size >= 0 && size <= kMostValues, "top_k_band: got ", size,
              " values, expected at most 2^31");
  SHIRA_CHECK(ShapeError, 0 <= skip && skip <= size && 0 <= count && count <= size - skip,
              "top_k_band: got ranks ", skip, " to ", skip, " + ", count, " of ", size, " values");
  const Band band{skip, count};
  switch (dtype) {
    case DType::kF32: return band_of(Values<std::int32_t>{values, size, 0x7f800000}, band);
    case DType::kBF16: return band_of(Values<std::int16_t>{values, size, 0x7f80}, band);
    case DType::kF16: return band_of(Values<std::int16_t>{values, size, 0x7c00}, band);
    default: break;
  }
  throw ShapeError(
      detail::concat("top_k_band: got ", dtype_name(dtype), " values, expected F32, F16 or BF16"));
}

}  // namespace shira
