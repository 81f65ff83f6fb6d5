// One function a layer, in the order of the checkpoint's names.
#include <shira/models/llama.h>
#include <shira/nn/checkpoint.h>
#include <shira/nn/silu_product.h>

#include <ATen/Functions.h>

namespace shira {
namespace {

nn::Linear make_linear(const ParameterSource& source, const std::string& name, std::int64_t out,
                       std::int64_t in, bool bias) {
  torch::Tensor weight = source(name + ".weight", {out, in});
  return nn::Linear(std::move(weight), bias ? source(name + ".bias", {out}) : torch::Tensor());
}

nn::RmsNorm make_norm(const ParameterSource& source, const std::string& name, std::int64_t width,
                      double eps) {
  return nn::RmsNorm(source(name + ".weight", {width}), eps);
}

nn::Linear make_head(const ParameterSource& source, const LlamaConfig& config,
                     const nn::Embedding& embedding) {
  if (config.tie_word_embeddings) return nn::Linear(embedding->weight);
  return make_linear(source, "lm_head", config.vocab_size, config.hidden_size, /*bias=*/false);
}

}  // namespace

LlamaAttentionImpl::LlamaAttentionImpl(const LlamaConfig& config, const std::string& prefix,
                                       const ParameterSource& source)
    : head_dim_(config.head_dim) {
  const std::int64_t width = config.num_attention_heads * config.head_dim;
  const std::int64_t kv_width = config.num_key_value_heads * config.head_dim;
  const auto linear = [&](const char* name, std::int64_t out, std::int64_t in, bool bias) {
    return register_module(name, make_linear(source, prefix + name, out, in, bias));
  };
  q_proj = linear("q_proj", width, config.hidden_size, config.qkv_bias);
  k_proj = linear("k_proj", kv_width, config.hidden_size, config.qkv_bias);
  v_proj = linear("v_proj", kv_width, config.hidden_size, config.qkv_bias);
  o_proj = linear("o_proj", config.hidden_size, width, config.output_bias);
  if (!config.qk_norm) return;
  const auto norm = [&](const char* name) {
    return register_module(name,
                           make_norm(source, prefix + name, config.head_dim, config.rms_norm_eps));
  };
  q_norm = norm("q_norm");
  k_norm = norm("k_norm");
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
  const auto linear = [&](const char* name, std::int64_t out, std::int64_t in) {
    return register_module(name, make_linear(source, prefix + name, out, in, config.mlp_bias));
  };
  gate_proj = linear("gate_proj", config.intermediate_size, config.hidden_size);
  up_proj = linear("up_proj", config.intermediate_size, config.hidden_size);
  down_proj = linear("down_proj", config.hidden_size, config.intermediate_size);
}

torch::Tensor LlamaMlpImpl::forward(const torch::Tensor& hidden) {
  return down_proj->forward(nn::silu_product(gate_proj->forward(hidden), up_proj->forward(hidden)));
}

LlamaBlockImpl::LlamaBlockImpl(const LlamaConfig& config, const std::string& prefix,
                               const ParameterSource& source) {
  self_attn = register_module("self_attn", LlamaAttention(config, prefix + "self_attn.", source));
  mlp = register_module("mlp", LlamaMlp(config, prefix + "mlp.", source));
  const auto norm = [&](const char* name) {
    return register_module(
        name, make_norm(source, prefix + name, config.hidden_size, config.rms_norm_eps));
  };
  input_layernorm = norm("input_layernorm");
  post_attention_layernorm = norm("post_attention_layernorm");
}

torch::Tensor LlamaBlockImpl::forward(torch::Tensor hidden, const nn::Rotary::Tables& rotary,
                                      nn::KvCacheLayer* cache,
                                      const nn::AttentionPattern& pattern) {
  hidden = hidden + self_attn->forward(input_layernorm->forward(hidden), rotary, cache, pattern);
  return hidden + mlp->forward(post_attention_layernorm->forward(hidden));
}

LlamaModelImpl::LlamaModelImpl(const LlamaConfig& config, const ParameterSource& source) {
  embed_tokens = register_module(
      "embed_tokens",
      nn::Embedding(source("model.embed_tokens.weight", {config.vocab_size, config.hidden_size})));
  layers = register_module("layers", torch::nn::ModuleList());
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    layers->push_back(LlamaBlock(config, "model.layers." + std::to_string(i) + ".", source));
  }
  norm = register_module("norm",
                         make_norm(source, "model.norm", config.hidden_size, config.rms_norm_eps));
}

LlamaImpl::LlamaImpl(const LlamaConfig& config_in, const ParameterSource& source)
    : config(config_in), rotary_(config.head_dim, config.rope_theta, config.rope_scaling) {
  model = register_module("model", LlamaModel(config, source));
  lm_head = register_module("lm_head", make_head(source, config, model->embed_tokens));
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
