// A diffusers UNet directory to a model.
#pragma once

#include <shira/base/export.h>
#include <shira/models/load_options.h>
#include <shira/models/unet.h>

#include <filesystem>

namespace shira {

/// Loads config.json and the weights (diffusion_pytorch_model.safetensors, shards, or the fp16
/// variant) of a pipeline's unet directory. One IoError lists all missing, unexpected and
/// mis-shaped tensors. By default every weight is writable.
SHIRA_API Unet load_unet(const std::filesystem::path& directory, const LoadOptions& options = {});

/// Where the UNet of `base_model` lies: in a pipeline (model_index.json) the directory `unet`; the
/// directory itself where its config.json says UNet2DConditionModel. Empty: there is none, it is a
/// checkpoint of another family. IoError for a JSON file that cannot be read.
SHIRA_API std::filesystem::path unet_directory(const std::filesystem::path& base_model);

}  // namespace shira
