// LLaMA 1, 2 and 3 (Touvron et al. 2023; Dubey et al. 2024) and its relatives of the same blocks:
// Mistral (sliding window), Qwen2 (biases of queries, keys and values), Qwen3 (norms of queries and
// keys). Module and parameter names are the checkpoint's: model.layers.0.self_attn.q_proj.weight.
#pragma once

#include <shira/base/export.h>
#include <shira/models/llama_config.h>
#include <shira/models/part_builder.h>
#include <shira/nn/attention.h>
#include <shira/nn/layers.h>
#include <shira/nn/linear.h>
#include <shira/nn/rotary.h>

#include <torch/nn/module.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace shira {

/// Keys and values of every layer.
using KvCache = std::vector<nn::KvCacheLayer>;

class SHIRA_API LlamaAttentionImpl : public torch::nn::Module {
 public:
  LlamaAttentionImpl(const LlamaConfig& config, const std::string& prefix,
                     const ParameterSource& source);
  /// `hidden` (B, T, hidden_size); with a cache the T positions follow the cached ones.
  torch::Tensor forward(const torch::Tensor& hidden, const nn::Rotary::Tables& rotary,
                        nn::KvCacheLayer* cache, const nn::AttentionPattern& pattern);

  nn::Linear q_proj{nullptr}, k_proj{nullptr}, v_proj{nullptr}, o_proj{nullptr};
  nn::RmsNorm q_norm{nullptr}, k_norm{nullptr};  // of each head; null but in Qwen3

 private:
  torch::Tensor split_heads(const torch::Tensor& projected) const;

  std::int64_t head_dim_;
};
TORCH_MODULE(LlamaAttention);

/// down(silu(gate(x)) * up(x)).
class SHIRA_API LlamaMlpImpl : public torch::nn::Module {
 public:
  LlamaMlpImpl(const LlamaConfig& config, const std::string& prefix, const ParameterSource& source);
  torch::Tensor forward(const torch::Tensor& hidden);

  nn::Linear gate_proj{nullptr}, up_proj{nullptr}, down_proj{nullptr};
};
TORCH_MODULE(LlamaMlp);

/// One decoder layer.
class SHIRA_API LlamaBlockImpl : public torch::nn::Module {
 public:
  LlamaBlockImpl(const LlamaConfig& config, const std::string& prefix,
                 const ParameterSource& source);
  torch::Tensor forward(torch::Tensor hidden, const nn::Rotary::Tables& rotary,
                        nn::KvCacheLayer* cache = nullptr,
                        const nn::AttentionPattern& pattern = {});

  LlamaAttention self_attn{nullptr};
  LlamaMlp mlp{nullptr};
  nn::RmsNorm input_layernorm{nullptr}, post_attention_layernorm{nullptr};
};
TORCH_MODULE(LlamaBlock);

/// Embedding, blocks and the final norm: what checkpoints name `model`.
class SHIRA_API LlamaModelImpl : public torch::nn::Module {
 public:
  LlamaModelImpl(const LlamaConfig& config, const ParameterSource& source);

  nn::Embedding embed_tokens{nullptr};
  torch::nn::ModuleList layers{nullptr};
  nn::RmsNorm norm{nullptr};
};
TORCH_MODULE(LlamaModel);

class SHIRA_API LlamaImpl : public torch::nn::Module {
 public:
  LlamaImpl(const LlamaConfig& config, const ParameterSource& source);

  /// Where the weights are: `to(torch::kCUDA)` moves them.
  at::Device device() const;
  /// `ids` (B, T) int64, on any device -> the final norm's output (B, T, hidden_size). With a cache
  /// (one layer each) the T positions follow the cached ones and are appended to it. Right padding
  /// needs no layout: causal attention never looks at it. ShapeError for a layout that does not
  /// fit.
  torch::Tensor hidden(const torch::Tensor& ids, KvCache* cache = nullptr,
                       const nn::SequenceLayout& layout = {});
  /// (..., hidden_size) -> (..., vocab_size).
  torch::Tensor logits(const torch::Tensor& hidden);

  /// An empty cache for `batch` sequences of up to `capacity` positions.
  KvCache make_cache(std::int64_t batch, std::int64_t capacity) const;

  const LlamaConfig config;
  LlamaModel model{nullptr};
  nn::Linear lm_head{nullptr};  // shares embed_tokens' weight where the config ties them
  /// Keeps the blocks' inputs alone for the backward pass (nn/checkpoint.h).
  bool gradient_checkpointing = false;

 private:
  nn::Rotary rotary_;
};
TORCH_MODULE(Llama);

}  // namespace shira
