// The weight files of a HuggingFace checkpoint directory: one model.safetensors, or shards named by
// model.safetensors.index.json.
#pragma once

#include <shira/base/export.h>
#include <shira/io/safetensors.h>

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

/// All tensors of a checkpoint directory under one roof.
class SHIRA_API CheckpointFiles {
 public:
  /// Opens `model.safetensors`, or the index and every shard it names. IoError when neither is
  /// there (a directory with only pytorch_model.bin gets told how to convert), when the index names
  /// a file outside the directory, or when index and shards disagree about a tensor.
  explicit CheckpointFiles(const std::filesystem::path& directory);

  const std::filesystem::path& directory() const { return directory_; }
  /// Sorted by name.
  std::vector<std::string> names() const;
  bool contains(std::string_view name) const;
  TensorView view(std::string_view name) const;

 private:
  std::filesystem::path directory_;
  std::map<std::string, TensorView, std::less<>> tensors_;
};

}  // namespace shira
