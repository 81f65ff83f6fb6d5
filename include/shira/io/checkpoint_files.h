// The weight files of a checkpoint directory: transformers' model.safetensors, or shards named by
// model.safetensors.index.json; diffusers' diffusion_pytorch_model.safetensors likewise; the files
// of every component of a diffusers pipeline.
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
  std::string file;                     // its path in the directory
  std::string index = "";               // the path of the index that names it; empty: none does
  std::string prefix = "";              // of its tensors' names here, which the file does not have
  std::vector<std::string> names = {};  // its tensors, in the order of their bytes
  std::map<std::string, std::string> metadata = {};
};

/// The components of a diffusers pipeline that have safetensors weights, in the order of
/// model_index.json; nothing for a directory that is no pipeline. IoError for a model_index.json
/// that is no JSON object.
SHIRA_API std::vector<std::string> weight_components(const std::filesystem::path& directory);

/// All tensors of a checkpoint directory under one roof.
class SHIRA_API CheckpointFiles {
 public:
  /// Opens the weights, or the index and every shard it names; of several precisions the full one
  /// before `fp16`. A diffusers pipeline (model_index.json) has its components' tensors under
  /// "unet.", "vae.", ...; a component without safetensors is left out. IoError when there are none
  /// (a directory with only pytorch_model.bin gets told how to convert), when an index names a file
  /// outside its directory, or when index and shards disagree about a tensor.
  explicit CheckpointFiles(const std::filesystem::path& directory);

  const std::filesystem::path& directory() const { return directory_; }
  /// Sorted by name.
  std::vector<std::string> names() const;
  bool contains(std::string_view name) const;
  TensorView view(std::string_view name) const;
  /// Of a component after the other, sorted by file name; at least one, unless an index names none.
  const std::vector<CheckpointShard>& shards() const { return shards_; }

 private:
  /// The weights in directory_ / `component`.
  void add_component(const std::filesystem::path& component, const std::string& prefix);
  void add(const SafetensorsFile& file, CheckpointShard shard);

  std::filesystem::path directory_;
  std::vector<CheckpointShard> shards_;
  std::map<std::string, TensorView, std::less<>> tensors_;
};

}  // namespace shira
