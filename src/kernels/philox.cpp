// The generator, and what the library draws from it.
#include <shira/base/error.h>
#include <shira/kernels/philox.h>

#include <bit>
#include <numeric>
#include <utility>

namespace shira {
namespace {

constexpr std::uint32_t low32(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
constexpr std::uint32_t high32(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

/// http://www.isthe.com/chongo/tech/comp/fnv
std::uint64_t fnv1a_64(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const unsigned char byte : text) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

/// The set members of a bitmap, ascending.
std::vector<std::int32_t> members(const std::vector<std::uint64_t>& bitmap, std::int64_t count) {
  std::vector<std::int32_t> found;
  found.reserve(static_cast<std::size_t>(count));
  for (std::size_t word = 0; word < bitmap.size(); ++word) {
    for (std::uint64_t bits = bitmap[word]; bits != 0; bits &= bits - 1) {
      found.push_back(static_cast<std::int32_t>(word * 64 + std::size_t(std::countr_zero(bits))));
    }
  }
  return found;
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  constexpr int kRounds = 10;
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {high32(b) ^ counter[1] ^ key[0], low32(b), high32(a) ^ counter[3] ^ key[1],
               low32(a)};
    key[0] += 0x9E3779B9;  // the golden ratio
    key[1] += 0xBB67AE85;  // sqrt(3) - 1
  }
  return counter;
}

PhiloxStream::PhiloxStream(std::uint64_t seed, std::string_view name)
    : seed_(seed), name_hash_(fnv1a_64(name)) {}

void PhiloxStream::load_block() {
  const std::uint64_t number = position_ / 4;
  block_ = philox4x32({low32(number), high32(number), low32(name_hash_), high32(name_hash_)},
                      {low32(seed_), high32(seed_)});
}

void PhiloxStream::seek(std::uint64_t position) {
  position_ = position;
  load_block();
}

std::uint32_t PhiloxStream::next_u32() {
  if (position_ % 4 == 0) load_block();
  return block_[position_++ % 4];
}

std::uint64_t PhiloxStream::next_u64() {
  const std::uint64_t low = next_u32();
  return low | std::uint64_t{next_u32()} << 32;
}

double PhiloxStream::next_double() { return static_cast<double>(next_u64() >> 11) * 0x1p-53; }

std::uint64_t PhiloxStream::bounded(std::uint64_t n) {
  SHIRA_CHECK(ShapeError, n > 0, "PhiloxStream::bounded: got 0, expected a positive bound");
  // The first 2^64 mod n numbers would make small results more likely: draw again.
  const std::uint64_t rejected = (0 - n) % n;
  std::uint64_t number = next_u64();
  while (number < rejected) number = next_u64();
  return number % n;
}

std::vector<std::int32_t> sample_without_replacement(PhiloxStream& stream, std::int64_t population,
                                                     std::int64_t count) {
  SHIRA_CHECK(ShapeError,
              0 <= count && count <= population && population <= (std::int64_t{1} << 31),
              "sample_without_replacement: got ", count, " of ", population,
              ", expected 0 <= count <= population <= 2^31");
  std::vector<std::uint64_t> bitmap(static_cast<std::size_t>((population + 63) / 64));
  const auto insert = [&](std::uint64_t member) {
    const std::uint64_t bit = std::uint64_t{1} << (member % 64);
    const std::uint64_t old = std::exchange(bitmap[member / 64], bitmap[member / 64] | bit);
    return (old & bit) == 0;
  };
  // Floyd's algorithm (Bentley, CACM 30(9), 1987).
  for (std::int64_t last = population - count; last < population; ++last) {
    const auto limit = static_cast<std::uint64_t>(last);
    if (!insert(stream.bounded(limit + 1))) insert(limit);
  }
  return members(bitmap, count);
}

std::vector<std::int64_t> random_permutation(PhiloxStream& stream, std::int64_t n) {
  SHIRA_CHECK(ShapeError, n >= 0, "random_permutation: got ", n, ", expected 0 or more");
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t left = order.size(); left > 1; --left) {
    std::swap(order[left - 1], order[stream.bounded(left)]);
  }
  return order;
}

}  // namespace shira
