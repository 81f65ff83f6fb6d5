// LibTorch's scaled_dot_product_attention does the work; its `is_causal` aligns query 0 with key 0,
// so a cached prefix needs an explicit mask (or none, for a single query).
#include <shira/base/error.h>
#include <shira/nn/attention.h>

#include <ATen/Functions.h>

namespace shira::nn {

KvCacheLayer::KvCacheLayer(std::int64_t batch, std::int64_t heads, std::int64_t capacity,
                           std::int64_t head_dim, torch::ScalarType dtype)
    : keys_(at::empty({batch, heads, capacity, head_dim}, dtype)), values_(at::empty_like(keys_)) {}

void KvCacheLayer::append(const torch::Tensor& key, const torch::Tensor& value) {
  const std::int64_t added = key.size(2);
  SHIRA_CHECK(ShapeError, length_ + added <= keys_.size(2), "[KvCacheLayer::append] ", length_,
              " + ", added, " positions exceed the cache's capacity of ", keys_.size(2), ".");
  keys_.narrow(2, length_, added).copy_(key);
  values_.narrow(2, length_, added).copy_(value);
  length_ += added;
}

torch::Tensor KvCacheLayer::keys() const { return keys_.narrow(2, 0, length_); }

torch::Tensor KvCacheLayer::values() const { return values_.narrow(2, 0, length_); }

torch::Tensor causal_attention(const torch::Tensor& query, const torch::Tensor& key,
                               const torch::Tensor& value) {
  const std::int64_t queries = query.size(2);
  const std::int64_t positions = key.size(2);
  const bool grouped = query.size(1) != key.size(1);
  std::optional<torch::Tensor> mask;
  if (queries > 1 && queries < positions) {
    mask = at::ones({queries, positions}, torch::kBool).tril(positions - queries);
  }
  const bool is_causal = queries > 1 && queries == positions;
  return at::scaled_dot_product_attention(query, key, value, mask, /*dropout_p=*/0.0, is_causal,
                                          /*scale=*/std::nullopt, grouped);
}

}  // namespace shira::nn
