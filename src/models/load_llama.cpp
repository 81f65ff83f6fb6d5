// The model is built directly on the checkpoint's tensors: no random initialisation, no copy of
// what nobody will write.
#include "checkpoint_source.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/checkpoint_copy.h>
#include <shira/io/checkpoint_files.h>
#include <shira/models/load_llama.h>
#include <shira/nn/parameters.h>
#include <shira/sparse/tensor_file.h>

#include <nlohmann/json.hpp>

namespace shira {
namespace {

constexpr const char* kEmbeddingName = "model.embed_tokens.weight";

/// An adapter may change any weight of a layer; the embedding is one where the head shares it.
std::function<bool(const std::string&)> writable_by_default(const LlamaConfig& config) {
  const bool is_tied = config.tie_word_embeddings;
  return [is_tied](const std::string& name) { return is_tied || name != kEmbeddingName; };
}

/// config.json of `base` with its dtype (under whichever key it stands) set to the weights'.
std::string config_with_dtype(const std::filesystem::path& path, torch::ScalarType dtype) {
  auto config = nlohmann::ordered_json::parse(read_file(path));
  const char* key = config.contains("dtype") ? "dtype" : "torch_dtype";
  config[key] = torch_dtype_name(dtype);
  return config.dump(2) + "\n";
}

}  // namespace

Llama load_llama(const std::filesystem::path& directory, const LoadOptions& options) {
  const LlamaConfig config = read_llama_config(directory);
  const CheckpointFiles files(directory);
  const auto tensors = std::ssize(files.names());
  SHIRA_CHECK(IoError, config.num_hidden_layers <= tensors, directory.string(),
              ": the weights do not fit config.json: num_hidden_layers is ",
              config.num_hidden_layers, ", but they hold ", tensors, " tensors.");
  detail::CheckpointSource source(files, options, writable_by_default(config), kEmbeddingName);
  Llama model(config, source.parameters());
  source.check_all([&config](const std::string& name) {
    return name.ends_with(".rotary_emb.inv_freq") ||
           (config.tie_word_embeddings && name == "lm_head.weight");
  });
  return model;
}

torch::ScalarType checkpoint_dtype(const std::filesystem::path& directory) {
  return detail::stored_dtype(CheckpointFiles(directory), kEmbeddingName);
}

void save_llama(const std::filesystem::path& directory, const Llama& model,
                const std::filesystem::path& base, std::optional<torch::ScalarType> dtype) {
  const auto kept = dtype.value_or(model->model->norm->weight.scalar_type());
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : nn::unique_parameters(*model)) {
    tensors.emplace_back(name, tensor.detach().to(kept));
  }
  copy_companion_files(base, directory);
  write_file(directory / "config.json", config_with_dtype(base / "config.json", kept));
  save_tensors(directory / "model.safetensors", tensors, {{"format", "pt"}});
}

}  // namespace shira
