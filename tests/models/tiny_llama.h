// A random Llama of a few hundred weights; in float64 rounding cannot hide a difference.
#pragma once

#include <shira/models/llama.h>

#include <ATen/Functions.h>

namespace shira {

/// Two query heads share a key head, and head_dim is not hidden_size / heads.
inline Llama tiny_llama(torch::ScalarType dtype = torch::kFloat64) {
  LlamaConfig config;
  config.vocab_size = 17;
  config.hidden_size = 12;
  config.intermediate_size = 10;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 6;
  return Llama(config, [dtype](const std::string&, at::IntArrayRef shape) {
    return (at::randn(shape, torch::kFloat64) * 0.5).to(dtype);
  });
}

inline torch::Tensor random_ids(std::int64_t rows, std::int64_t length) {
  return at::randint(17, {rows, length}, torch::kInt64);
}

inline bool nearly_equal(const torch::Tensor& a, const torch::Tensor& b) {
  return at::allclose(a, b, 1e-12, 1e-12);
}

}  // namespace shira
