// CLIP's text encoder (Radford et al. 2021), transformers' CLIPTextModel and
// CLIPTextModelWithProjection: what Stable Diffusion reads prompts with.
#pragma once

#include <shira/base/export.h>
#include <shira/models/load_options.h>
#include <shira/models/part_builder.h>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace shira {

/// The values that shape a model; the defaults are transformers'.
struct ClipTextConfig {
  std::int64_t vocab_size = 49408;
  std::int64_t hidden_size = 512;
  std::int64_t intermediate_size = 2048;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 8;
  std::int64_t max_position_embeddings = 77;
  double layer_norm_eps = 1e-5;
  bool quick_gelu = true;             // x sigmoid(1.702 x) instead of the exact GELU
  std::int64_t eos_token_id = 49407;  // 2 in old files: the largest id of a row counts then
  std::int64_t projection_dim = 0;    // of CLIPTextModelWithProjection; 0: has no projection
};

/// Reads `directory`/config.json. IoError when it is missing or no JSON; ConfigError listing every
/// value that this implementation does not support.
SHIRA_API ClipTextConfig read_clip_text_config(const std::filesystem::path& directory);

/// What a text is to a UNet.
struct ClipTextStates {
  torch::Tensor last;         // (B, T, hidden_size), after the final norm
  torch::Tensor penultimate;  // (B, T, hidden_size), what the last layer reads
  /// (B, hidden_size): `last` where the text ends, or its projection (B, projection_dim).
  torch::Tensor pooled;
};

class SHIRA_API ClipTextLayer : public torch::nn::Module {
 public:
  ClipTextLayer(const ParameterSource& source, const std::string& prefix,
                const ClipTextConfig& config);
  torch::Tensor forward(const torch::Tensor& hidden);

  nn::LayerNorm layer_norm1{nullptr}, layer_norm2{nullptr};
  nn::Linear q_proj{nullptr}, k_proj{nullptr}, v_proj{nullptr}, out_proj{nullptr};
  nn::Linear fc1{nullptr}, fc2{nullptr};

 private:
  std::int64_t heads_;
  bool quick_gelu_;
};

class SHIRA_API ClipTextImpl : public torch::nn::Module {
 public:
  /// `root`: what the names begin with, "text_model." or nothing.
  ClipTextImpl(const ClipTextConfig& config, const ParameterSource& source,
               const std::string& root);

  /// Where the weights are: `to(torch::kCUDA)` moves them.
  at::Device device() const;
  /// `ids` (B, T) int64, on any device; padding is seen as text, as the model was trained.
  /// ShapeError for more tokens than positions, or an id outside the vocabulary.
  ClipTextStates forward(const torch::Tensor& ids);

  const ClipTextConfig config;
  nn::Embedding token_embedding{nullptr}, position_embedding{nullptr};
  std::vector<std::shared_ptr<ClipTextLayer>> layers;
  nn::LayerNorm final_layer_norm{nullptr};
  nn::Linear text_projection{nullptr};  // null in CLIPTextModel
  /// Keeps the layers' inputs alone for the backward pass (nn/checkpoint.h).
  bool gradient_checkpointing = false;

 private:
  void check_ids(const torch::Tensor& ids) const;
  torch::Tensor end_of_text(const torch::Tensor& ids) const;
};
TORCH_MODULE(ClipText);

/// Loads config.json and the weights, with or without `text_model.` in front of the names. One
/// IoError lists all missing, unexpected and mis-shaped tensors. By default every weight is
/// writable.
SHIRA_API ClipText load_clip_text(const std::filesystem::path& directory,
                                  const LoadOptions& options = {});

}  // namespace shira
