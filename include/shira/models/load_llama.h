// HuggingFace checkpoint directories to models and back.
#pragma once

#include <shira/base/export.h>
#include <shira/models/llama.h>
#include <shira/models/load_options.h>

#include <torch/types.h>

#include <filesystem>
#include <optional>

namespace shira {

/// Loads config.json and the weights (model.safetensors or shards). One IoError lists all missing,
/// unexpected and mis-shaped tensors. By default an embedding that the head does not share is not
/// writable.
SHIRA_API Llama load_llama(const std::filesystem::path& directory, const LoadOptions& options = {});

/// The dtype in which the checkpoint stores the bulk of its weights (its embedding's).
SHIRA_API torch::ScalarType checkpoint_dtype(const std::filesystem::path& directory);

/// Writes `model` into an existing directory as a HuggingFace checkpoint: model.safetensors in
/// `dtype` (default: the model's own) and the other files of `base` (config, tokenizer, ...), each
/// file atomically.
SHIRA_API void save_llama(const std::filesystem::path& directory, const Llama& model,
                          const std::filesystem::path& base,
                          std::optional<torch::ScalarType> dtype = {});

}  // namespace shira
