// Any bytes are either refused with IoError or decode to indices that encode to the same bytes.
// An input is: int64 count, int64 limit, int64 number of restarts, the restarts, the gaps.
#include "mutation_driver.h"

#include <shira/base/error.h>
#include <shira/io/index_codec.h>

#include <algorithm>
#include <cstring>

namespace {

using Integers = std::vector<std::int64_t>;

std::string input_of(const std::vector<std::int32_t>& indices, std::int64_t limit) {
  const shira::EncodedIndices encoded = shira::encode_indices(indices);
  Integers head{static_cast<std::int64_t>(indices.size()), limit,
                static_cast<std::int64_t>(encoded.restarts.size())};
  head.insert(head.end(), encoded.restarts.begin(), encoded.restarts.end());
  return std::string(reinterpret_cast<const char*>(head.data()), head.size() * 8) +
         std::string(encoded.gaps.begin(), encoded.gaps.end());
}

std::vector<std::int32_t> every_nth(std::int32_t step, std::size_t count) {
  std::vector<std::int32_t> indices(count);
  for (std::size_t i = 0; i < count; ++i) indices[i] = static_cast<std::int32_t>(i) * step;
  return indices;
}

void check_accepted(const std::vector<std::int32_t>& indices, const Integers& restarts,
                    std::span<const std::uint8_t> gaps, const Integers& head) {
  const shira::EncodedIndices again = shira::encode_indices(indices);  // throws unless sorted
  const bool same = again.restarts == restarts && std::ranges::equal(again.gaps, gaps);
  const bool in_range = indices.empty() || indices.back() < head[1];
  if (!same || !in_range || static_cast<std::int64_t>(indices.size()) != head[0]) std::abort();
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {input_of({}, 0), input_of({0, 1, 300, 70'000}, 70'001),
          input_of(every_nth(100, 50), 5000),
          input_of(every_nth(3, shira::kIndexBlock + 2), 1 << 20)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Integers head(3);
  if (size < 24) return 0;
  std::memcpy(head.data(), data, 24);
  const std::size_t most = (size - 24) / 8;
  Integers restarts(std::min<std::uint64_t>(static_cast<std::uint64_t>(head[2]), most));
  if (!restarts.empty()) std::memcpy(restarts.data(), data + 24, restarts.size() * 8);
  const auto gaps = std::span(data, size).subspan(24 + restarts.size() * 8);
  try {
    check_accepted(shira::decode_indices({gaps, restarts, head[0], head[1]}), restarts, gaps, head);
  } catch (const shira::IoError&) {
  }
  return 0;
}
