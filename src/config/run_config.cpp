#include <shira/config/run_config.h>

#include <filesystem>

namespace shira {

bool is_text_to_image(const RunConfig& config) {
  std::error_code error;
  if (std::filesystem::is_directory(config.base_model, error)) {
    return std::filesystem::exists(std::filesystem::path(config.base_model) / "model_index.json",
                                   error);
  }
  return !config.train_data_dir.empty() || !config.instance_data_dir.empty();
}

}  // namespace shira
