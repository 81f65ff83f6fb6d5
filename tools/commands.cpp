#include "commands.h"

#include <shira/base/error.h>
#include <shira/io/hub_cache.h>
#include <shira/tasks/training_run.h>

#include <charconv>
#include <cmath>

namespace shira::tools {
namespace {

/// In DIR@scale only a last '@' followed by a number is a scale.
ScaledAdapter load_scaled_adapter(const std::string& text) {
  const std::size_t at = text.rfind('@');
  if (at != std::string::npos && at + 1 < text.size()) {
    double scale = 0.0;
    const auto [end, error] =
        std::from_chars(text.data() + at + 1, text.data() + text.size(), scale);
    const bool is_number = error != std::errc::invalid_argument;
    if (is_number && end == text.data() + text.size()) {
      SHIRA_CHECK(ConfigError, error == std::errc() && std::isfinite(scale), "--adapter ", text,
                  ": the scale must be finite.");
      return {load_adapter(text.substr(0, at)), scale};
    }
  }
  return {load_adapter(text)};
}

LoadOptions with_dtype(LoadOptions options, const std::string& base_dtype) {
  if (!options.dtype) options.dtype = parse_base_dtype(base_dtype);
  return options;
}

}  // namespace

void ModelFlags::add_to(CLI::App& command, bool with_dtype) {
  command
      .add_option("--base_model", base_model,
                  "HuggingFace checkpoint directory, or org/name in the local HuggingFace cache")
      ->required();
  command.add_option("--adapter", adapters,
                     "Adapter directory, optionally with a scale: DIR@0.5; may be repeated");
  if (with_dtype) {
    command
        .add_option("--base_dtype", base_dtype,
                    "Dtype of the weights in memory: auto (the checkpoint's), "
                    "float32, bfloat16, float16")
        ->capture_default_str();
  }
  command.add_flag("--force", force, "Accept adapters that were trained on other base values");
}

std::filesystem::path ModelFlags::directory() const { return resolve_base_model(base_model); }

AdaptedModel::AdaptedModel(const ModelFlags& flags, LoadOptions options)
    : model(load_llama(flags.directory(), with_dtype(std::move(options), flags.base_dtype))),
      switcher(*model) {
  if (flags.adapters.empty()) return;
  std::vector<ScaledAdapter> adapters;
  for (const std::string& text : flags.adapters) adapters.push_back(load_scaled_adapter(text));
  switcher.apply(switcher.resolve(adapters, {.force = flags.force}));
}

}  // namespace shira::tools
