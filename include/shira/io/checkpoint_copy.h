// What a checkpoint made from another one takes over beside the weights.
#pragma once

#include <shira/base/export.h>
#include <shira/io/checkpoint_files.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace shira {

/// The paths of a checkpoint directory's files, sorted, that belong to a model of other weights as
/// well: configuration, tokenizer, ... Weights of any format, README.md and what describes adapters
/// stay behind. Of a diffusers pipeline also those of its components, all of them where a component
/// is none of weight_components.
SHIRA_API std::vector<std::string> companion_files(const std::filesystem::path& directory);

/// Copies these into another directory, and makes the directories that they need there.
SHIRA_API void copy_companion_files(const std::filesystem::path& from,
                                    const std::filesystem::path& to);

/// Copies one file, whatever its size, atomically.
SHIRA_API void duplicate_file(const std::filesystem::path& from, const std::filesystem::path& to);

/// The index of a checkpoint's shards.
struct CheckpointIndex {
  std::map<std::string, std::string> weight_map;  // tensor -> file, as the index has them
  std::uint64_t total_size = 0;                   // bytes of all tensors
  std::int64_t more_parameters = 0;               // than the old index counts, if it does
};

/// Writes the file `to`: the index in the file `from` with these values in it.
SHIRA_API void write_checkpoint_index(const std::filesystem::path& from,
                                      const std::filesystem::path& to,
                                      const CheckpointIndex& index);

}  // namespace shira
