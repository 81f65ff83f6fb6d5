// LibTorch's scaled_dot_product_attention does the work; its `is_causal` aligns query 0 with key 0,
// so a cached prefix needs an explicit mask (or none, for a single query). Packed samples are
// attended to one by one: no mask of N x N, no work across samples.
#include <shira/base/error.h>
#include <shira/nn/attention.h>

#include <ATen/Functions.h>

#include <algorithm>

namespace shira::nn {
namespace {

void check_packing(const std::vector<std::int64_t>& ends, at::IntArrayRef ids_shape,
                   std::int64_t start) {
  const auto not_rising = [](std::int64_t a, std::int64_t b) { return a >= b; };
  const bool rises = std::adjacent_find(ends.begin(), ends.end(), not_rising) == ends.end();
  SHIRA_CHECK(ShapeError, ids_shape[0] == 1 && start == 0,
              "[SequenceLayout] packed samples stand in one row, without a cache. Got ids ",
              ids_shape, " after ", start, " cached positions.");
  SHIRA_CHECK(ShapeError, ends.front() == 0 && rises && ends.back() == ids_shape[1],
              "[SequenceLayout] cu_seqlens must rise from 0 to the row's ", ids_shape[1],
              " tokens. Got ", at::IntArrayRef(ends), ".");
}

std::vector<std::int64_t> differences(const std::vector<std::int64_t>& ends) {
  std::vector<std::int64_t> lengths;
  for (std::size_t i = 1; i < ends.size(); ++i) lengths.push_back(ends[i] - ends[i - 1]);
  return lengths;
}

/// (T, S): each query sees itself and what precedes it, within the window.
torch::Tensor window_mask(std::int64_t start, std::int64_t length, std::int64_t window) {
  const torch::Tensor all = at::ones({length, start + length}, torch::kBool);
  return all.tril(start) & all.triu(start - window + 1);
}

torch::Tensor packed_attention(const torch::Tensor& query, const torch::Tensor& key,
                               const torch::Tensor& value, const AttentionPattern& pattern) {
  const auto queries = query.split_with_sizes(pattern.sample_lengths, 2);
  const auto keys = key.split_with_sizes(pattern.sample_lengths, 2);
  const auto values = value.split_with_sizes(pattern.sample_lengths, 2);
  std::vector<torch::Tensor> mixed;
  for (std::size_t i = 0; i < queries.size(); ++i) {
    AttentionPattern sample;
    if (pattern.window > 0 && pattern.sample_lengths[i] > pattern.window) {
      sample.visible = window_mask(0, pattern.sample_lengths[i], pattern.window).to(query.device());
    }
    mixed.push_back(causal_attention(queries[i], keys[i], values[i], sample));
  }
  return at::cat(mixed, 2);
}

}  // namespace

void check_layout(const SequenceLayout& layout, at::IntArrayRef ids_shape, std::int64_t start) {
  const torch::Tensor& padding = layout.left_padding;
  if (!layout.cu_seqlens.empty()) check_packing(layout.cu_seqlens, ids_shape, start);
  if (!padding.defined()) return;
  SHIRA_CHECK(ShapeError, layout.cu_seqlens.empty(),
              "[SequenceLayout] a row is either packed or left-padded.");
  SHIRA_CHECK(ShapeError,
              padding.scalar_type() == torch::kInt64 && padding.sizes() == ids_shape.slice(0, 1),
              "[SequenceLayout] left_padding must be int64 (", ids_shape[0], "). Got ",
              padding.scalar_type(), " ", padding.sizes(), ".");
}

torch::Tensor positions_in(const SequenceLayout& layout, std::int64_t start, std::int64_t length) {
  if (!layout.cu_seqlens.empty()) {
    std::vector<torch::Tensor> samples;
    for (std::int64_t size : differences(layout.cu_seqlens)) samples.push_back(at::arange(size));
    return at::cat(samples);
  }
  const torch::Tensor columns = at::arange(start, start + length);
  if (!layout.left_padding.defined()) return columns;
  return (columns - layout.left_padding.unsqueeze(1)).clamp_min(0);
}

AttentionPattern attention_pattern(const SequenceLayout& layout, std::int64_t start,
                                   std::int64_t length, std::int64_t window) {
  if (!layout.cu_seqlens.empty()) return {differences(layout.cu_seqlens), {}, window};
  const bool cuts = window > 0 && start + length > window;
  if (!layout.left_padding.defined()) {
    if (!cuts) return {};
    return {.visible = window_mask(start, length, window)};
  }
  const torch::Tensor keys = at::arange(start + length);                          // (S)
  const torch::Tensor queries = at::arange(start, start + length).view({-1, 1});  // (T, 1)
  const torch::Tensor text = keys >= layout.left_padding.view({-1, 1, 1, 1});     // (B, 1, 1, S)
  torch::Tensor seen = text & (keys <= queries);
  if (cuts) seen = seen & (keys > queries - window);
  return {.visible = seen | (keys == queries)};
}

KvCacheLayer::KvCacheLayer(std::int64_t batch, std::int64_t heads, std::int64_t capacity,
                           std::int64_t head_dim, const torch::TensorOptions& options)
    : keys_(at::empty({batch, heads, capacity, head_dim}, options)),
      values_(at::empty_like(keys_)) {}

void KvCacheLayer::append(const torch::Tensor& key, const torch::Tensor& value) {
  const std::int64_t added = key.size(2);
  SHIRA_CHECK(ShapeError, length_ + added <= keys_.size(2), "[KvCacheLayer::append] ", length_,
              " + ", added, " positions exceed the cache's capacity of ", keys_.size(2), ".");
  keys_.narrow(2, length_, added).copy_(key);
  values_.narrow(2, length_, added).copy_(value);
  length_ += added;
}

void KvCacheLayer::keep_rows(const torch::Tensor& rows) {
  const torch::Tensor kept = rows.to(keys_.device());
  keys_ = keys_.index_select(0, kept);
  values_ = values_.index_select(0, kept);
}

torch::Tensor KvCacheLayer::keys() const { return keys_.narrow(2, 0, length_); }

torch::Tensor KvCacheLayer::values() const { return values_.narrow(2, 0, length_); }

torch::Tensor causal_attention(const torch::Tensor& query, const torch::Tensor& key,
                               const torch::Tensor& value, const AttentionPattern& pattern) {
  if (!pattern.sample_lengths.empty()) {
    return packed_attention(query, key, value, pattern);
  }
  const std::int64_t queries = query.size(2);
  const std::int64_t positions = key.size(2);
  const bool grouped = query.size(1) != key.size(1);
  std::optional<torch::Tensor> mask;
  if (pattern.visible.defined()) {
    mask = pattern.visible;
  } else if (queries > 1 && queries < positions) {
    mask = at::ones({queries, positions}, torch::kBool).tril(positions - queries);
  }
  const bool is_causal = !mask && queries > 1 && queries == positions;
  return at::scaled_dot_product_attention(query, key, value, mask, /*dropout_p=*/0.0, is_causal,
                                          /*scale=*/std::nullopt, grouped);
}

torch::Tensor multi_head_attention(const torch::Tensor& query, const torch::Tensor& key,
                                   const torch::Tensor& value, std::int64_t heads, bool is_causal) {
  const auto split = [heads](const torch::Tensor& t) {
    return t.unflatten(-1, {heads, -1}).transpose(1, 2);
  };
  const torch::Tensor mixed =
      at::scaled_dot_product_attention(split(query), split(key), split(value),
                                       /*attn_mask=*/std::nullopt, /*dropout_p=*/0.0, is_causal);
  return mixed.transpose(1, 2).flatten(2);
}

}  // namespace shira::nn
