// Packed and left-padded batches against the same texts run alone.
#include "io/expect_error.h"
#include "models/tiny_llama.h"

#include <shira/base/error.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

const std::vector<std::int64_t> kEnds = {0, 5, 6, 13};  // one sample has a single token

torch::Tensor padding(std::vector<std::int64_t> counts) {
  return at::tensor(counts, torch::kInt64);
}

/// A text of 4 and one of 7 tokens, the first with 3 tokens of padding before it.
struct LeftPadded {
  torch::Tensor ids = random_ids(2, 7);
  nn::SequenceLayout layout = {.left_padding = padding({3, 0})};
  torch::Tensor text(std::int64_t row) const {
    return row == 0 ? ids.narrow(0, 0, 1).narrow(1, 3, 4) : ids.narrow(0, 1, 1);
  }
};

TEST(PackedLayout, HiddenStatesAreThoseOfTheSamplesAlone) {
  Llama model = tiny_llama();
  const torch::Tensor ids = random_ids(1, 13);
  const torch::Tensor packed = model->hidden(ids, nullptr, {.cu_seqlens = kEnds});
  for (std::size_t i = 0; i + 1 < kEnds.size(); ++i) {
    const std::int64_t length = kEnds[i + 1] - kEnds[i];
    const torch::Tensor alone = model->hidden(ids.narrow(1, kEnds[i], length));
    EXPECT_TRUE(nearly_equal(packed.narrow(1, kEnds[i], length), alone)) << i;
  }
  EXPECT_FALSE(nearly_equal(packed, model->hidden(ids)));
}

TEST(PackedLayout, ASampleHasNoInfluenceOnTheOthersBits) {
  Llama model = tiny_llama();
  const torch::Tensor ids = random_ids(1, 13);
  torch::Tensor changed = ids.clone();
  changed.narrow(1, 5, 1).add_(1).remainder_(17);
  const torch::Tensor before = model->hidden(ids, nullptr, {.cu_seqlens = kEnds});
  const torch::Tensor after = model->hidden(changed, nullptr, {.cu_seqlens = kEnds});
  EXPECT_TRUE(after.narrow(1, 0, 5).equal(before.narrow(1, 0, 5)));
  EXPECT_TRUE(after.narrow(1, 6, 7).equal(before.narrow(1, 6, 7)));
  EXPECT_FALSE(after.select(1, 5).equal(before.select(1, 5)));
}

TEST(LeftPaddedLayout, RowsEqualTheUnpaddedTexts) {
  Llama model = tiny_llama();
  const LeftPadded batch;
  const torch::Tensor padded = model->hidden(batch.ids, nullptr, batch.layout);
  EXPECT_TRUE(padded.isfinite().all().item<bool>());
  EXPECT_TRUE(nearly_equal(padded[0].slice(0, 3), model->hidden(batch.text(0))[0]));
  EXPECT_TRUE(nearly_equal(padded[1], model->hidden(batch.text(1))[0]));
}

TEST(LeftPaddedLayout, ThePaddingsIdsHaveNoInfluence) {
  Llama model = tiny_llama();
  const LeftPadded batch;
  torch::Tensor other = batch.ids.clone();
  other[0].narrow(0, 0, 3).add_(1).remainder_(17);
  const torch::Tensor before = model->hidden(batch.ids, nullptr, batch.layout);
  const torch::Tensor after = model->hidden(other, nullptr, batch.layout);
  EXPECT_TRUE(after[0].slice(0, 3).equal(before[0].slice(0, 3)));
}

TEST(LeftPaddedLayout, ThroughACacheInPiecesEqualsTheWhole) {
  Llama model = tiny_llama();
  const LeftPadded batch;
  const torch::Tensor whole = model->hidden(batch.ids, nullptr, batch.layout);
  KvCache cache = model->make_cache(2, 7);
  std::vector<torch::Tensor> pieces;
  for (const auto& [begin, length] : {std::pair{0, 4}, {4, 1}, {5, 2}}) {
    pieces.push_back(model->hidden(batch.ids.narrow(1, begin, length), &cache, batch.layout));
  }
  EXPECT_TRUE(nearly_equal(at::cat(pieces, 1), whole));
}

TEST(SequenceLayout, OneThatDoesNotFitIsRefused) {
  Llama model = tiny_llama();
  const torch::Tensor row = random_ids(1, 13);
  KvCache cache = model->make_cache(1, 14);
  model->hidden(row.narrow(1, 0, 1), &cache);
  const auto refuses = [&](const torch::Tensor& ids, const nn::SequenceLayout& layout,
                           const std::string& why, KvCache* used = nullptr) {
    expect_error<ShapeError>([&] { model->hidden(ids, used, layout); }, {why});
  };
  refuses(row, {.cu_seqlens = {0, 5, 12}}, "must rise from 0 to the row's 13 tokens");
  refuses(row, {.cu_seqlens = {1, 13}}, "must rise from 0");
  refuses(row, {.cu_seqlens = {0, 5, 5, 13}}, "must rise from 0");
  refuses(random_ids(2, 13), {.cu_seqlens = kEnds}, "in one row");
  refuses(row, {.cu_seqlens = kEnds}, "after 1 cached positions", &cache);
  refuses(row, {.cu_seqlens = kEnds, .left_padding = padding({0})}, "either packed or");
  refuses(row, {.left_padding = padding({0, 0})}, "left_padding must be int64 (1)");
  refuses(row, {.left_padding = at::zeros({1})}, "must be int64");
}

}  // namespace
}  // namespace shira
