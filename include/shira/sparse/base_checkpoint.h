// A base as files alone: what fuse, convert, merge and the comparison of adapters read, without a
// model.
#pragma once

#include <shira/base/export.h>

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <string>

namespace shira {

/// Every tensor of a HuggingFace checkpoint directory by name, on the mapped, read-only bytes: only
/// what is looked at is read. IoError as CheckpointFiles has it.
SHIRA_API std::map<std::string, torch::Tensor> map_checkpoint(
    const std::filesystem::path& directory);

}  // namespace shira
