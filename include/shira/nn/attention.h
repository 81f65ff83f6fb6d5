// Attention, the layouts of the sequences in a batch, and the cache that lets attention go
// on token by token.
#pragma once

#include <shira/base/export.h>

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace shira::nn {

/// Which positions of a batch belong together; the default: each row is one sequence from position
/// 0.
struct SequenceLayout {
  /// Packed samples in one row (1, N): 0, end of the first sample, ..., N (flash-attention's
  /// cu_seqlens). Empty: not packed.
  std::vector<std::int64_t> cu_seqlens = {};
  /// (B) int64: padding tokens before each row's text (left padding, for generation). Undefined:
  /// none.
  torch::Tensor left_padding = {};
};

/// ShapeError unless `layout` fits the T new ids (B, T) after `start` cached positions.
SHIRA_API void check_layout(const SequenceLayout& layout, at::IntArrayRef ids_shape,
                            std::int64_t start);

/// The place of each of the `length` tokens from `start` on in its own text, for the rotary
/// embedding: (T), or (B, T) for left padding (where padding counts as 0).
SHIRA_API torch::Tensor positions_in(const SequenceLayout& layout, std::int64_t start,
                                     std::int64_t length);

/// What attention needs of a layout, worked out once for all layers of a call.
struct AttentionPattern {
  std::vector<std::int64_t> sample_lengths = {};  // of packed samples; empty: not packed
  /// (B, 1, T, S) or (T, S) bool: what each query sees. Undefined: everything up to itself.
  torch::Tensor visible = {};
  std::int64_t window = 0;  // of packed samples: each query sees so many positions; 0: all
};

/// For the T tokens from `start` on, of which each sees itself and the `window` - 1 before it (0:
/// all before it). Padding is seen by none but itself (which keeps NaN away).
SHIRA_API AttentionPattern attention_pattern(const SequenceLayout& layout, std::int64_t start,
                                             std::int64_t length, std::int64_t window = 0);

/// Keys and values of one layer, in memory of a fixed capacity.
class SHIRA_API KvCacheLayer {
 public:
  KvCacheLayer(std::int64_t batch, std::int64_t heads, std::int64_t capacity, std::int64_t head_dim,
               const torch::TensorOptions& options);

  /// Appends `key` and `value` (B, kv_heads, T, head_dim); ShapeError beyond the capacity.
  void append(const torch::Tensor& key, const torch::Tensor& value);
  /// Forgets all sequences but those of `rows` (int64), which stand in this order then.
  void keep_rows(const torch::Tensor& rows);
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
/// it, within the bounds of `pattern`. kv_heads divides heads (grouped-query attention).
SHIRA_API torch::Tensor causal_attention(const torch::Tensor& query, const torch::Tensor& key,
                                         const torch::Tensor& value,
                                         const AttentionPattern& pattern = {});

/// softmax(q k^T / sqrt(width / heads)) v of vectors that hold their heads one after another:
/// `query` (B, T, width), `key` and `value` (B, S, width) -> (B, T, width). Each query sees every
/// key, or, `is_causal` (T = S), those up to its own position.
SHIRA_API torch::Tensor multi_head_attention(const torch::Tensor& query, const torch::Tensor& key,
                                             const torch::Tensor& value, std::int64_t heads,
                                             bool is_causal = false);

}  // namespace shira::nn
