// The model is built directly on the checkpoint's tensors.
#include "checkpoint_source.h"
#include "json_config.h"

#include <shira/base/error.h>
#include <shira/models/load_unet.h>
#include <shira/sparse/tensor_file.h>

namespace shira {
namespace {

constexpr const char* kFirstWeight = "conv_in.weight";

/// The first weight's; where it is missing any other's: the fit check then reports everything.
torch::ScalarType stored_unet_dtype(const CheckpointFiles& files) {
  const auto names = files.names();
  SHIRA_CHECK(IoError, !names.empty(), files.directory().string(), ": the weights hold no tensor.");
  return to_scalar_type(
      files.view(files.contains(kFirstWeight) ? kFirstWeight : names.front()).dtype);
}

}  // namespace

Unet load_unet(const std::filesystem::path& directory, const LoadOptions& options) {
  const UnetConfig config = read_unet_config(directory);
  const CheckpointFiles files(directory);
  detail::CheckpointSource source(
      files, options.writable ? options.writable : [](const std::string&) { return true; },
      options.dtype ? *options.dtype : stored_unet_dtype(files));
  Unet model(config, [&source](const std::string& name, at::IntArrayRef shape) {
    return source.take(name, shape);
  });
  source.check_all([](const std::string&) { return false; });
  return model;
}

std::filesystem::path unet_directory(const std::filesystem::path& base_model) {
  if (std::filesystem::exists(base_model / "model_index.json")) return base_model / "unet";
  const auto path = base_model / "config.json";
  if (!std::filesystem::exists(path)) return {};
  const auto object = detail::parse_json_object(path);
  return object.contains("_class_name") && object["_class_name"] == "UNet2DConditionModel"
             ? base_model
             : std::filesystem::path();
}

}  // namespace shira
