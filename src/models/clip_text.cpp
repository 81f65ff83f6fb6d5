#include "checkpoint_source.h"
#include "json_config.h"

#include <shira/base/error.h>
#include <shira/io/checkpoint_files.h>
#include <shira/models/clip_text.h>
#include <shira/nn/attention.h>
#include <shira/nn/checkpoint.h>

#include <ATen/Functions.h>

namespace shira {
namespace {

constexpr std::int64_t kMaxClipLayers = 256;  // what a file may make us build is bounded
constexpr const char* kTokenTable = "embeddings.token_embedding.weight";

/// Whether the file is of CLIPTextModelWithProjection.
bool has_projection(detail::JsonConfig& reader) {
  const nlohmann::json& object = reader.object();
  const auto found = object.find("architectures");
  const bool is_named = found != object.end() && found->is_array() && found->size() == 1;
  return is_named && found->front() == "CLIPTextModelWithProjection";
}

}  // namespace

ClipTextConfig read_clip_text_config(const std::filesystem::path& directory) {
  const nlohmann::json object = detail::read_json_object(directory / "config.json");
  detail::JsonConfig reader(object);
  ClipTextConfig config;
  reader.expect(reader.get<std::string>("model_type", "clip_text_model") == "clip_text_model",
                "model_type", "only clip_text_model is supported");
  config.vocab_size = reader.get_size("vocab_size", config.vocab_size);
  config.hidden_size = reader.get_size("hidden_size", config.hidden_size);
  config.intermediate_size = reader.get_size("intermediate_size", config.intermediate_size);
  config.num_hidden_layers = reader.get_size("num_hidden_layers", config.num_hidden_layers);
  reader.expect(config.num_hidden_layers <= kMaxClipLayers, "num_hidden_layers",
                "expected at most 256");
  config.num_attention_heads = reader.get_size("num_attention_heads", config.num_attention_heads);
  config.max_position_embeddings =
      reader.get_size("max_position_embeddings", config.max_position_embeddings);
  config.layer_norm_eps = reader.get<double>("layer_norm_eps", config.layer_norm_eps);
  reader.expect(config.layer_norm_eps >= 0.0, "layer_norm_eps", "expected a number of at least 0");
  config.eos_token_id = reader.get<std::int64_t>("eos_token_id", config.eos_token_id);
  if (has_projection(reader)) config.projection_dim = reader.get_size("projection_dim", 512);
  const auto activation = reader.get<std::string>("hidden_act", "quick_gelu");
  config.quick_gelu = activation == "quick_gelu";
  reader.expect(config.quick_gelu || activation == "gelu", "hidden_act",
                "only quick_gelu and gelu are supported");
  reader.expect(!reader.get<bool>("use_attention_mask", false), "use_attention_mask",
                "only false is supported");
  reader.expect(config.hidden_size % config.num_attention_heads == 0, "num_attention_heads",
                "expected a divisor of hidden_size");
  reader.check(directory / "config.json");
  return config;
}

ClipTextLayer::ClipTextLayer(const ParameterSource& source, const std::string& prefix,
                             const ClipTextConfig& config)
    : heads_(config.num_attention_heads), quick_gelu_(config.quick_gelu) {
  PartBuilder build(*this, source, prefix);
  const std::int64_t width = config.hidden_size;
  layer_norm1 = build.layer_norm("layer_norm1", width, config.layer_norm_eps);
  q_proj = build.linear("self_attn.q_proj", width, width);
  k_proj = build.linear("self_attn.k_proj", width, width);
  v_proj = build.linear("self_attn.v_proj", width, width);
  out_proj = build.linear("self_attn.out_proj", width, width);
  layer_norm2 = build.layer_norm("layer_norm2", width, config.layer_norm_eps);
  fc1 = build.linear("mlp.fc1", config.intermediate_size, width);
  fc2 = build.linear("mlp.fc2", width, config.intermediate_size);
}

torch::Tensor ClipTextLayer::forward(const torch::Tensor& input) {
  const torch::Tensor normed = layer_norm1->forward(input);
  const torch::Tensor mixed =
      nn::multi_head_attention(q_proj->forward(normed), k_proj->forward(normed),
                               v_proj->forward(normed), heads_, /*is_causal=*/true);
  const torch::Tensor hidden = input + out_proj->forward(mixed);
  const torch::Tensor inner = fc1->forward(layer_norm2->forward(hidden));
  const torch::Tensor gated = quick_gelu_ ? inner * at::sigmoid(1.702 * inner) : at::gelu(inner);
  return hidden + fc2->forward(gated);
}

ClipTextImpl::ClipTextImpl(const ClipTextConfig& config_in, const ParameterSource& source,
                           const std::string& root)
    : config(config_in) {
  PartBuilder build(*this, source, "");
  const std::int64_t width = config.hidden_size;
  token_embedding = build.embedding(root + "embeddings.token_embedding", config.vocab_size, width);
  position_embedding = build.embedding(root + "embeddings.position_embedding",
                                       config.max_position_embeddings, width);
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    layers.push_back(
        build.part<ClipTextLayer>(root + "encoder.layers." + std::to_string(i), config));
  }
  final_layer_norm = build.layer_norm(root + "final_layer_norm", width, config.layer_norm_eps);
  if (config.projection_dim > 0) {
    text_projection = build.linear("text_projection", config.projection_dim, width, /*bias=*/false);
  }
}

at::Device ClipTextImpl::device() const { return final_layer_norm->weight.device(); }

void ClipTextImpl::check_ids(const torch::Tensor& ids) const {
  SHIRA_CHECK(ShapeError, ids.dim() == 2 && ids.scalar_type() == torch::kInt64 && ids.numel() > 0,
              "[ClipText] expected ids (B, T) of int64, got ", ids.scalar_type(), " ", ids.sizes(),
              ".");
  SHIRA_CHECK(ShapeError, ids.size(1) <= config.max_position_embeddings, "[ClipText] ", ids.size(1),
              " tokens, but the model has ", config.max_position_embeddings, " positions.");
  const auto lowest = ids.min().item<std::int64_t>(), highest = ids.max().item<std::int64_t>();
  SHIRA_CHECK(ShapeError, lowest >= 0 && highest < config.vocab_size, "[ClipText] id ",
              lowest < 0 ? lowest : highest, " is outside the model's vocabulary of ",
              config.vocab_size, ".");
}

/// (B): where each row's text ends.
torch::Tensor ClipTextImpl::end_of_text(const torch::Tensor& ids) const {
  const bool is_old = config.eos_token_id == 2;
  return (is_old ? ids : ids.eq(config.eos_token_id).to(torch::kInt32)).argmax(/*dim=*/-1);
}

ClipTextStates ClipTextImpl::forward(const torch::Tensor& ids_in) {
  check_ids(ids_in);
  const torch::Tensor ids = ids_in.to(device());
  const torch::Tensor positions =
      at::arange(ids.size(1), at::TensorOptions(device()).dtype(torch::kInt64));
  torch::Tensor hidden = token_embedding->forward(ids) + position_embedding->forward(positions);
  ClipTextStates states;
  for (const auto& layer : layers) {
    states.penultimate = hidden;
    const auto forward = [&layer](const torch::Tensor& input) { return layer->forward(input); };
    hidden = gradient_checkpointing ? nn::checkpoint(forward, hidden) : forward(hidden);
  }
  states.last = final_layer_norm->forward(hidden);
  const torch::Tensor rows = at::arange(ids.size(0), positions.options());
  states.pooled = states.last.index({rows, end_of_text(ids)});
  if (!text_projection.is_empty()) states.pooled = text_projection->forward(states.pooled);
  return states;
}

ClipText load_clip_text(const std::filesystem::path& directory, const LoadOptions& options) {
  const ClipTextConfig config = read_clip_text_config(directory);
  const CheckpointFiles files(directory);
  const std::string root =
      files.contains(std::string("text_model.") + kTokenTable) ? "text_model." : "";
  detail::CheckpointSource source(
      files, options, [](const std::string&) { return true; }, root + kTokenTable);
  ClipText model(config, source.parameters(), root);
  source.check_all([](const std::string& name) { return name.ends_with("position_ids"); });
  return model;
}

}  // namespace shira
