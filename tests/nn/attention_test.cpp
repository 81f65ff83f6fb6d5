// The cache and the masks of causal attention, against the full computation.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/nn/attention.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <cmath>

namespace shira::nn {
namespace {

struct Heads {
  torch::Tensor query = at::randn({2, 4, 7, 6}, torch::kFloat64);
  torch::Tensor key = at::randn({2, 2, 7, 6}, torch::kFloat64);  // two heads share a key head
  torch::Tensor value = at::randn({2, 2, 7, 6}, torch::kFloat64);
};

/// softmax(q k^T / sqrt(d) + mask) v, written out.
torch::Tensor written_out(const Heads& heads) {
  const torch::Tensor key = heads.key.repeat_interleave(2, 1);
  const torch::Tensor value = heads.value.repeat_interleave(2, 1);
  torch::Tensor scores = at::matmul(heads.query, key.transpose(2, 3)) / std::sqrt(6.0);
  scores = scores.masked_fill(at::ones({7, 7}, torch::kBool).triu(1), -INFINITY);
  return at::matmul(scores.softmax(-1), value);
}

TEST(CausalAttention, EqualsTheFormula) {
  const Heads heads;
  EXPECT_TRUE(at::allclose(causal_attention(heads.query, heads.key, heads.value),
                           written_out(heads), 1e-12, 1e-12));
}

TEST(CausalAttention, ThroughACacheInPiecesEqualsTheWhole) {
  const Heads heads;
  KvCacheLayer cache(2, 2, 7, 6, torch::kFloat64);
  std::vector<torch::Tensor> pieces;
  for (const auto& [begin, length] : {std::pair{0, 3}, {3, 1}, {4, 3}}) {
    cache.append(heads.key.narrow(2, begin, length), heads.value.narrow(2, begin, length));
    pieces.push_back(
        causal_attention(heads.query.narrow(2, begin, length), cache.keys(), cache.values()));
  }
  EXPECT_TRUE(at::allclose(at::cat(pieces, 2), written_out(heads), 1e-12, 1e-12));
  expect_error<ShapeError>([&] { cache.append(heads.key, heads.value); }, {"capacity of 7"});
}

TEST(CausalAttention, PackedSamplesSeeThemselvesOnly) {
  const Heads heads;
  const torch::Tensor packed = causal_attention(heads.query, heads.key, heads.value,
                                                attention_pattern({.cu_seqlens = {0, 4, 7}}, 0, 7));
  for (const auto& [begin, length] : {std::pair{0, 4}, {4, 3}}) {
    const torch::Tensor alone =
        causal_attention(heads.query.narrow(2, begin, length), heads.key.narrow(2, begin, length),
                         heads.value.narrow(2, begin, length));
    EXPECT_TRUE(packed.narrow(2, begin, length).equal(alone));
  }
}

TEST(CausalAttention, AWindowOfThreeSeesThreePositions) {
  const Heads heads;
  const auto attend = [&](std::int64_t begin, std::int64_t from, std::int64_t end,
                          const AttentionPattern& pattern = {}) {
    return causal_attention(heads.query.narrow(2, begin, end - begin),
                            heads.key.narrow(2, from, end - from),
                            heads.value.narrow(2, from, end - from), pattern);
  };
  std::vector<torch::Tensor> alone;  // each query with the keys that it may see
  for (std::int64_t i = 0; i < 7; ++i)
    alone.push_back(attend(i, std::max<std::int64_t>(i - 2, 0), i + 1));
  const torch::Tensor expected = at::cat(alone, 2);
  EXPECT_TRUE(
      at::allclose(attend(0, 0, 7, attention_pattern({}, 0, 7, 3)), expected, 1e-12, 1e-12));
  const torch::Tensor last = attend(4, 0, 7, attention_pattern({}, 4, 3, 3));  // after a cache
  EXPECT_TRUE(at::allclose(last, expected.narrow(2, 4, 3), 1e-12, 1e-12));
  // Packed: the second sample sees nothing of the first.
  const torch::Tensor packed =
      attend(0, 0, 7, attention_pattern({.cu_seqlens = {0, 2, 7}}, 0, 7, 3));
  EXPECT_TRUE(at::allclose(packed.narrow(2, 4, 3), expected.narrow(2, 4, 3), 1e-12, 1e-12));
  EXPECT_TRUE(at::allclose(packed.narrow(2, 2, 2), attend(2, 2, 4), 1e-12, 1e-12));
}

TEST(KvCacheLayer, GoesOnWithTheRowsThatAreKept) {
  const Heads heads;
  KvCacheLayer cache(2, 2, 7, 6, torch::kFloat64);
  cache.append(heads.key.narrow(2, 0, 5), heads.value.narrow(2, 0, 5));
  cache.keep_rows(at::tensor({1}, torch::kInt64));
  const torch::Tensor key = heads.key.narrow(0, 1, 1);
  const torch::Tensor value = heads.value.narrow(0, 1, 1);
  cache.append(key.narrow(2, 5, 2), value.narrow(2, 5, 2));
  EXPECT_TRUE(cache.keys().equal(key));
  EXPECT_TRUE(cache.values().equal(value));
}

TEST(AttentionPattern, PaddingIsSeenByNoneButItself) {
  const SequenceLayout layout = {.left_padding = at::tensor({2, 0}, torch::kInt64)};
  const torch::Tensor expected = at::tensor({1, 0, 0, 0,  //
                                             0, 1, 0, 0,  //
                                             0, 0, 1, 0,  //
                                             0, 0, 1, 1})
                                     .view({4, 4});
  const torch::Tensor visible = attention_pattern(layout, 0, 4).visible.to(torch::kInt32);
  EXPECT_TRUE(visible[0][0].equal(expected.to(torch::kInt32)));
  EXPECT_TRUE(visible[1][0].equal(at::ones({4, 4}, torch::kInt32).tril()));
  // With two positions cached: the last two rows.
  const torch::Tensor later = attention_pattern(layout, 2, 2).visible.to(torch::kInt32);
  EXPECT_TRUE(later.equal(visible.slice(2, 2)));
}

TEST(SequenceLayout, PositionsCountFromEachTextsBeginning) {
  const auto ints = [](std::vector<std::int64_t> values) { return at::tensor(values); };
  EXPECT_TRUE(positions_in({}, 3, 2).equal(ints({3, 4})));
  EXPECT_TRUE(positions_in({.cu_seqlens = {0, 2, 5}}, 0, 5).equal(ints({0, 1, 0, 1, 2})));
  const SequenceLayout padded = {.left_padding = ints({2, 0})};
  EXPECT_TRUE(positions_in(padded, 1, 3).equal(ints({0, 0, 1, 1, 2, 3}).view({2, 3})));
}

}  // namespace
}  // namespace shira::nn
