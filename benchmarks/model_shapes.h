// The LLaMAs that benchmarks run on (UNets: benchmarks/unets). Weights are random; what counts are
// the shapes.
#pragma once

#include <shira/models/llama_config.h>

#include <torch/types.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace shira::benchmarks {

inline LlamaConfig llama_shape(std::int64_t hidden, std::int64_t intermediate, std::int64_t layers,
                               std::int64_t kv_heads, std::int64_t head_dim) {
  LlamaConfig config;
  config.hidden_size = hidden;
  config.intermediate_size = intermediate;
  config.num_hidden_layers = layers;
  config.num_attention_heads = hidden / head_dim;
  config.num_key_value_heads = kv_heads;
  config.head_dim = head_dim;
  return config;
}

/// LLaMA-2-7B, TinyLlama 1.1B, the same with 10 of its 22 layers (0.57 B), four layers of 1024 or
/// 2048 (enough to train on a CPU, with products of the usual shapes), or a model for a smoke test.
inline LlamaConfig llama_config(const std::string& name) {
  if (name == "llama_1024") return llama_shape(1024, 2816, 4, 16, 64);
  if (name == "llama_2048") return llama_shape(2048, 5632, 4, 32, 64);
  if (name == "llama_7b") return llama_shape(4096, 11008, 32, 32, 128);
  if (name == "llama_1b") return llama_shape(2048, 5632, 22, 4, 64);
  if (name == "llama_half") return llama_shape(2048, 5632, 10, 4, 64);
  if (name != "llama_tiny") throw std::invalid_argument(name + ": no such model");
  LlamaConfig config = llama_shape(128, 320, 2, 4, 16);
  config.vocab_size = 256;
  return config;
}

/// Every matrix and convolution but embedding and head, as PEFT's `all-linear` has it.
inline bool is_target(const std::string& name, const torch::Tensor& parameter) {
  const bool is_end =
      name == "model.embed_tokens.weight" || name == "lm_head.weight" || name == "conv_out.weight";
  return parameter.dim() >= 2 && !is_end;
}

}  // namespace shira::benchmarks
