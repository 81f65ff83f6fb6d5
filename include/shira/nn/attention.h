// Causal attention and the cache that lets it go on token by token.
#pragma once

#include <shira/base/export.h>

#include <torch/types.h>

#include <cstdint>

namespace shira::nn {

/// Keys and values of one layer, in memory of a fixed capacity.
class SHIRA_API KvCacheLayer {
 public:
  KvCacheLayer(std::int64_t batch, std::int64_t heads, std::int64_t capacity, std::int64_t head_dim,
               torch::ScalarType dtype);

  /// Appends `key` and `value` (B, kv_heads, T, head_dim); ShapeError beyond the capacity.
  void append(const torch::Tensor& key, const torch::Tensor& value);
  /// All keys so far, (B, kv_heads, length, head_dim).
  torch::Tensor keys() const;
  torch::Tensor values() const;
  std::int64_t length() const { return length_; }

 private:
  torch::Tensor keys_;
  torch::Tensor values_;
  std::int64_t length_ = 0;
};

/// softmax(q k^T / sqrt(head_dim)) v. `query` (B, heads, T, head_dim) are the last T of the S
/// positions of `key` and `value` (B, kv_heads, S, head_dim); each sees itself and what precedes
/// it. kv_heads divides heads (grouped-query attention).
SHIRA_API torch::Tensor causal_attention(const torch::Tensor& query, const torch::Tensor& key,
                                         const torch::Tensor& value);

}  // namespace shira::nn
