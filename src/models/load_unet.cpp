// The model is built directly on the checkpoint's tensors.
#include "checkpoint_source.h"
#include "json_config.h"

#include <shira/models/load_unet.h>

namespace shira {
Unet load_unet(const std::filesystem::path& directory, const LoadOptions& options) {
  const UnetConfig config = read_unet_config(directory);
  const CheckpointFiles files(directory);
  detail::CheckpointSource source(
      files, options, [](const std::string&) { return true; }, "conv_in.weight");
  Unet model(config, source.parameters());
  source.check_all();
  return model;
}

std::filesystem::path unet_directory(const std::filesystem::path& base_model) {
  if (std::filesystem::exists(base_model / "model_index.json")) return base_model / "unet";
  const auto path = base_model / "config.json";
  if (!std::filesystem::exists(path)) return {};
  const auto object = detail::read_json_object(path);
  return object.contains("_class_name") && object["_class_name"] == "UNet2DConditionModel"
             ? base_model
             : std::filesystem::path();
}

}  // namespace shira
