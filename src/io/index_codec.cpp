// A block needs only its bytes and the index before it, which its restart has.
#include <shira/base/error.h>
#include <shira/io/index_codec.h>

#include <algorithm>

namespace shira {
namespace {

constexpr std::uint8_t kContinue = 255;
constexpr std::int64_t kLargestLimit = std::int64_t{1} << 31;  // indices are int32

void append_gap(std::int64_t gap, std::vector<std::uint8_t>& gaps) {
  gaps.insert(gaps.end(), static_cast<std::size_t>(gap / kContinue), kContinue);
  gaps.push_back(static_cast<std::uint8_t>(gap % kContinue));
}

void check_sizes(std::span<const std::uint8_t> gaps, std::span<const std::int64_t> restarts,
                 std::int64_t count, std::int64_t limit) {
  const auto bytes = static_cast<std::int64_t>(gaps.size());
  SHIRA_CHECK(IoError, 0 <= limit && limit <= kLargestLimit && 0 <= count && count <= limit,
              "index codec: cannot hold ", count, " indices below ", limit,
              ", expected count <= limit <= 2^31");
  SHIRA_CHECK(IoError, count <= bytes && (count > 0 || bytes == 0), "index codec: got ", bytes,
              " bytes for ", count, " indices, expected at least one byte each and none for none");
  const std::int64_t expected = count == 0 ? 0 : 2 * ((count - 1) / kIndexBlock);
  SHIRA_CHECK(IoError, static_cast<std::int64_t>(restarts.size()) == expected, "index codec: got ",
              restarts.size(), " restart numbers for ", count, " indices, expected ", expected);
}

[[noreturn]] void throw_bad_index(std::int64_t index, std::int64_t previous, std::int64_t limit) {
  throw IoError(detail::concat("index codec: got index ", index, " after ", previous,
                               ", expected a larger one below ", limit));
}

/// Block b > 0 begins at byte restarts[2 * b - 1], after index restarts[2 * b - 2].
void check_restarts(std::span<const std::int64_t> restarts, std::int64_t bytes,
                    std::int64_t limit) {
  std::int64_t last_index = -1;
  std::int64_t last_byte = 0;
  for (std::size_t i = 0; i < restarts.size(); i += 2) {
    const bool fits = last_index < restarts[i] && restarts[i] < limit &&
                      last_byte < restarts[i + 1] && restarts[i + 1] < bytes;
    SHIRA_CHECK(IoError, fits, "index codec: restart ", i / 2, " names index ", restarts[i],
                " and byte ", restarts[i + 1], ", expected ones above ", last_index, " and ",
                last_byte, " and below ", limit, " and ", bytes);
    last_index = restarts[i];
    last_byte = restarts[i + 1];
  }
}

/// Fills `out` from one block's bytes; `previous` is the index before it (-1: none). Returns its
/// last index.
std::int64_t decode_gaps(std::span<const std::uint8_t> gaps, std::int64_t previous,
                         std::int64_t limit, std::span<std::int32_t> out) {
  std::int64_t index = std::max<std::int64_t>(previous, 0);
  std::size_t entry = 0;
  for (const std::uint8_t gap : gaps) {
    index += gap;
    if (gap == kContinue) continue;
    if (index <= previous || index >= limit) throw_bad_index(index, previous, limit);
    SHIRA_CHECK(IoError, entry < out.size(), "index codec: a block has more than the expected ",
                out.size(), " indices");
    out[entry++] = static_cast<std::int32_t>(index);
    previous = index;
  }
  SHIRA_CHECK(IoError, entry == out.size() && gaps.back() != kContinue,
              "index codec: a block ends after ", entry, " of ", out.size(), " indices",
              gaps.back() == kContinue ? ", inside a gap" : "");
  return previous;
}

}  // namespace

EncodedIndices encode_indices(std::span<const std::int32_t> indices) {
  EncodedIndices encoded;
  encoded.gaps.reserve(indices.size() + indices.size() / 8);
  std::int64_t previous = -1;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    SHIRA_CHECK(ShapeError, indices[i] > previous, "encode_indices: got index ", indices[i],
                " after ", previous, ", expected sorted, unique, not negative indices");
    if (i > 0 && i % kIndexBlock == 0) {
      encoded.restarts.push_back(previous);
      encoded.restarts.push_back(static_cast<std::int64_t>(encoded.gaps.size()));
    }
    append_gap(indices[i] - std::max<std::int64_t>(previous, 0), encoded.gaps);
    previous = indices[i];
  }
  return encoded;
}

IndexDecoder::IndexDecoder(std::span<const std::uint8_t> gaps, std::vector<std::int64_t> restarts,
                           std::int64_t count, std::int64_t limit)
    : gaps_(gaps), restarts_(std::move(restarts)), count_(count), limit_(limit) {
  check_sizes(gaps_, restarts_, count, limit);
  check_restarts(restarts_, std::ssize(gaps_), limit);
}

void IndexDecoder::decode_block(std::int64_t block, std::span<std::int32_t> out) const {
  const auto restart = 2 * static_cast<std::size_t>(block);  // of the next block
  const std::int64_t previous = block == 0 ? -1 : restarts_[restart - 2];
  const std::int64_t begin = block == 0 ? 0 : restarts_[restart - 1];
  const bool is_last = restart == restarts_.size();
  const std::int64_t end = is_last ? std::ssize(gaps_) : restarts_[restart + 1];
  const std::int64_t first = block * kIndexBlock;
  const std::int64_t entries = std::min(kIndexBlock, count_ - first);
  const std::int64_t last = decode_gaps(
      gaps_.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
      previous, limit_,
      out.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(entries)));
  SHIRA_CHECK(IoError, is_last || restarts_[restart] == last, "index codec: block ", block,
              " ends with index ", last, ", its restart says otherwise");
}

std::vector<std::int32_t> decode_indices(const IndexDecoder& decoder) {
  std::vector<std::int32_t> indices(static_cast<std::size_t>(decoder.count()));
  for (std::int64_t block = 0; block < decoder.blocks(); ++block) {
    decoder.decode_block(block, indices);
  }
  return indices;
}

}  // namespace shira
