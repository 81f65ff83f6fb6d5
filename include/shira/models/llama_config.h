// config.json of a LLaMA checkpoint, in transformers' old and new spellings.
#pragma once

#include <shira/base/export.h>
#include <shira/nn/rotary.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace shira {

/// The values that shape a LLaMA 1, 2 or 3; the defaults are transformers'.
struct LlamaConfig {
  std::int64_t vocab_size = 32000;
  std::int64_t hidden_size = 4096;
  std::int64_t intermediate_size = 11008;
  std::int64_t num_hidden_layers = 32;
  std::int64_t num_attention_heads = 32;
  std::int64_t num_key_value_heads = 32;  // fewer than the heads: grouped-query attention
  std::int64_t head_dim = 128;            // hidden_size / num_attention_heads unless given
  std::int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  std::optional<nn::Llama3RopeScaling> rope_scaling;
  bool attention_bias = false;
  bool mlp_bias = false;
  bool tie_word_embeddings = false;
  std::vector<std::int64_t> eos_token_ids = {2};  // generation_config.json's, else config.json's
};

/// Reads `directory`/config.json (and generation_config.json's eos_token_id). IoError when it is
/// missing or no JSON; ConfigError listing every value that this implementation does not support.
SHIRA_API LlamaConfig read_llama_config(const std::filesystem::path& directory);

}  // namespace shira
