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

/// One weight file of a checkpoint.
struct CheckpointShard {
  std::string file;                // its name in the directory
  std::vector<std::string> names;  // its tensors, in the order of their bytes
  std::map<std::string, std::string> metadata;
};

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
  /// Sorted by file name; at least one, unless an index names none.
  const std::vector<CheckpointShard>& shards() const { return shards_; }
  /// Whether there is an index.
  bool is_sharded() const { return is_sharded_; }

 private:
  void add(const SafetensorsFile& file);

  std::filesystem::path directory_;
  bool is_sharded_;
  std::vector<CheckpointShard> shards_;
  std::map<std::string, TensorView, std::less<>> tensors_;
};

}  // namespace shira
