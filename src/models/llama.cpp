// One function a layer, in the order of the checkpoint's names.
#include <shira/models/llama.h>
#include <shira/nn/checkpoint.h>
#include <shira/nn/silu_product.h>

#include <ATen/Functions.h>

namespace shira {
LlamaAttentionImpl::LlamaAttentionImpl(const LlamaConfig& config, const std::string& prefix,
                                       const ParameterSource& source)
    : head_dim_(config.head_dim) {
  const std::int64_t width = config.num_attention_heads * config.head_dim;
  const std::int64_t kv_width = config.num_key_value_heads * config.head_dim;
  PartBuilder build(*this, source, prefix);
  q_proj = build.linear("q_proj", width, config.hidden_size, config.qkv_bias);
  k_proj = build.linear("k_proj", kv_width, config.hidden_size, config.qkv_bias);
  v_proj = build.linear("v_proj", kv_width, config.hidden_size, config.qkv_bias);
  o_proj = build.linear("o_proj", config.hidden_size, width, config.output_bias);
  if (!config.qk_norm) return;
  q_norm = build.rms_norm("q_norm", config.head_dim, config.rms_norm_eps);
  k_norm = build.rms_norm("k_norm", config.head_dim, config.rms_norm_eps);
}

/// (B, T, heads * head_dim) -> (B, T, heads, head_dim)
torch::Tensor LlamaAttentionImpl::split_heads(const torch::Tensor& projected) const {
  return projected.unflatten(-1, {-1, head_dim_});
}

torch::Tensor LlamaAttentionImpl::forward(const torch::Tensor& hidden,
                                          const nn::Rotary::Tables& rotary, nn::KvCacheLayer* cache,
                                          const nn::AttentionPattern& pattern) {
  // (B, T, heads, head_dim), seen by attention as (B, heads, T, head_dim)
  const auto turned = [&](nn::Linear& projection, nn::RmsNorm& norm) {
    const torch::Tensor heads = split_heads(projection->forward(hidden));
    return nn::apply_rotary(norm.is_empty() ? heads : norm->forward(heads), rotary).transpose(1, 2);
  };
  const torch::Tensor query = turned(q_proj, q_norm);
  torch::Tensor key = turned(k_proj, k_norm);
  torch::Tensor value = split_heads(v_proj->forward(hidden)).transpose(1, 2);
  if (cache != nullptr) {
    cache->append(key, value);
    key = cache->keys();
    value = cache->values();
  }
  const torch::Tensor mixed = nn::causal_attention(query, key, value, pattern);
  return o_proj->forward(mixed.transpose(1, 2).flatten(2));
}

LlamaMlpImpl::LlamaMlpImpl(const LlamaConfig& config, const std::string& prefix,
                           const ParameterSource& source) {
  PartBuilder build(*this, source, prefix);
  const std::int64_t inner = config.intermediate_size, outer = config.hidden_size;
  gate_proj = build.linear("gate_proj", inner, outer, config.mlp_bias);
  up_proj = build.linear("up_proj", inner, outer, config.mlp_bias);
  down_proj = build.linear("down_proj", outer, inner, config.mlp_bias);
}

torch::Tensor LlamaMlpImpl::forward(const torch::Tensor& hidden) {
  return down_proj->forward(nn::silu_product(gate_proj->forward(hidden), up_proj->forward(hidden)));
}

LlamaBlockImpl::LlamaBlockImpl(const LlamaConfig& config, const std::string& prefix,
                               const ParameterSource& source) {
  self_attn = register_module("self_attn", LlamaAttention(config, prefix + "self_attn.", source));
  mlp = register_module("mlp", LlamaMlp(config, prefix + "mlp.", source));
  PartBuilder build(*this, source, prefix);
  input_layernorm = build.rms_norm("input_layernorm", config.hidden_size, config.rms_norm_eps);
  post_attention_layernorm =
      build.rms_norm("post_attention_layernorm", config.hidden_size, config.rms_norm_eps);
}

torch::Tensor LlamaBlockImpl::forward(torch::Tensor hidden, const nn::Rotary::Tables& rotary,
                                      nn::KvCacheLayer* cache,
                                      const nn::AttentionPattern& pattern) {
  hidden = hidden + self_attn->forward(input_layernorm->forward(hidden), rotary, cache, pattern);
  return hidden + mlp->forward(post_attention_layernorm->forward(hidden));
}

LlamaModelImpl::LlamaModelImpl(const LlamaConfig& config, const ParameterSource& source) {
  PartBuilder build(*this, source, "model.");
  embed_tokens = build.embedding("embed_tokens", config.vocab_size, config.hidden_size);
  layers = register_module("layers", torch::nn::ModuleList());
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    layers->push_back(LlamaBlock(config, "model.layers." + std::to_string(i) + ".", source));
  }
  norm = build.rms_norm("norm", config.hidden_size, config.rms_norm_eps);
}

LlamaImpl::LlamaImpl(const LlamaConfig& config_in, const ParameterSource& source)
    : config(config_in), rotary_(config.head_dim, config.rope_theta, config.rope_scaling) {
  model = register_module("model", LlamaModel(config, source));
  lm_head = config.tie_word_embeddings
                ? register_module("lm_head", nn::Linear(model->embed_tokens->weight))
                : PartBuilder(*this, source, "")
                      .linear("lm_head", config.vocab_size, config.hidden_size, /*bias=*/false);
}

at::Device LlamaImpl::device() const { return model->norm->weight.device(); }

torch::Tensor LlamaImpl::hidden(const torch::Tensor& ids, KvCache* cache,
                                const nn::SequenceLayout& layout) {
  const std::int64_t start = cache != nullptr && !cache->empty() ? cache->front().length() : 0;
  const std::int64_t length = ids.size(1);
  nn::check_layout(layout, ids.sizes(), start);
  torch::Tensor hidden = model->embed_tokens->forward(ids.to(device()));
  const auto tables = rotary_.tables(nn::positions_in(layout, start, length), hidden.options());
  const auto pattern_of = [&](std::int64_t window) {
    auto pattern = nn::attention_pattern(layout, start, length, window);
    if (pattern.visible.defined()) pattern.visible = pattern.visible.to(device());
    return pattern;
  };
  const nn::AttentionPattern whole = pattern_of(0), windowed = pattern_of(config.sliding_window);
  for (std::size_t i = 0; i < model->layers->size(); ++i) {
    auto& block = model->layers->at<LlamaBlockImpl>(i);
    const nn::AttentionPattern& pattern = config.slides(i) ? windowed : whole;
    if (gradient_checkpointing && cache == nullptr) {
      const auto forward = [&block, tables, pattern](const torch::Tensor& input) {
        return block.forward(input, tables, nullptr, pattern);
      };
      hidden = nn::checkpoint(forward, hidden);
    } else {
      hidden = block.forward(hidden, tables, cache != nullptr ? &cache->at(i) : nullptr, pattern);
    }
  }
  return model->norm->forward(hidden);
}

torch::Tensor LlamaImpl::logits(const torch::Tensor& hidden) { return lm_head->forward(hidden); }

KvCache LlamaImpl::make_cache(std::int64_t batch, std::int64_t capacity) const {
  const auto options = model->norm->weight.options();
  KvCache cache;
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    cache.emplace_back(batch, config.num_key_value_heads, capacity, config.head_dim, options);
  }
  return cache;
}

}  // namespace shira
