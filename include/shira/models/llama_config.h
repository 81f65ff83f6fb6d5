// config.json of a LLaMA, Mistral, Qwen2 or Qwen3 checkpoint, in transformers' old and new
// spellings.
#pragma once

#include <shira/base/export.h>
#include <shira/nn/rotary.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace shira {

/// The values that shape a model of the family; the defaults are LLaMA's.
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
  std::optional<nn::RopeScaling> rope_scaling;
  bool qkv_bias = false;                  // of queries, keys and values
  bool output_bias = false;               // of the attention's output
  bool qk_norm = false;                   // queries and keys are normalised, each head for itself
  std::int64_t sliding_window = 0;        // positions that a token sees; 0: all before it
  std::vector<bool> sliding_layers = {};  // the layers with that window; empty: all
  bool mlp_bias = false;
  bool tie_word_embeddings = false;
  std::vector<std::int64_t> eos_token_ids = {2};  // generation_config.json's, else config.json's

  /// Whether layer `index` sees no more than the sliding window.
  bool slides(std::size_t index) const {
    return sliding_window > 0 && (sliding_layers.empty() || sliding_layers.at(index));
  }
};

/// Reads `directory`/config.json (and generation_config.json's eos_token_id). IoError when it is
/// missing or no JSON; ConfigError listing every value that this implementation does not support.
SHIRA_API LlamaConfig read_llama_config(const std::filesystem::path& directory);

}  // namespace shira
