#include <shira/io/checkpoint_files.h>
#include <shira/sparse/base_checkpoint.h>
#include <shira/sparse/tensor_file.h>

namespace shira {

std::map<std::string, torch::Tensor> map_checkpoint(const std::filesystem::path& directory) {
  const CheckpointFiles files(directory);
  std::map<std::string, torch::Tensor> tensors;
  for (const std::string& name : files.names()) tensors.emplace(name, map_tensor(files.view(name)));
  return tensors;
}

}  // namespace shira
