#include "commands.h"

#include "numbers.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/io/hub_cache.h>
#include <shira/tasks/training_run.h>

#include <charconv>
#include <chrono>
#include <cmath>

namespace shira::tools {
namespace {

LoadOptions with_dtype(LoadOptions options, const std::string& base_dtype) {
  if (!options.dtype) options.dtype = parse_base_dtype(base_dtype);
  return options;
}

ScaledAdapter load_scaled_adapter(const std::string& text, const BaseParameters& base) {
  const std::size_t at = text.rfind('@');
  if (at != std::string::npos && at + 1 < text.size()) {
    double scale = 0.0;
    const auto [end, error] =
        std::from_chars(text.data() + at + 1, text.data() + text.size(), scale);
    const bool is_number = error != std::errc::invalid_argument;
    if (is_number && end == text.data() + text.size()) {
      SHIRA_CHECK(ConfigError, error == std::errc() && std::isfinite(scale), "--adapter ", text,
                  ": the scale must be finite, and 0 or more than 1e-308 in size.");
      return load_any_adapter(text.substr(0, at), base, scale);
    }
  }
  return load_any_adapter(text, base);
}

/// Every parameter by name.
BaseParameters parameters_of(const torch::nn::Module& model) {
  return [&model] {
    BaseTensors all;
    for (const auto& item : model.named_parameters()) all.emplace(item.key(), item.value());
    return all;
  };
}

}  // namespace

void ModelFlags::add_to(CLI::App& command, bool with_dtype) {
  command
      .add_option("--base_model", base_model,
                  "HuggingFace checkpoint or diffusers pipeline directory, or org/name in the "
                  "local HuggingFace cache")
      ->required();
  command.add_option("--adapter", adapters,
                     "Adapter directory (ours, PEFT's or diffusers') or LoRA file (.safetensors), "
                     "optionally with a scale: DIR@0.5; may be repeated");
  if (with_dtype) {
    command
        .add_option("--base_dtype", base_dtype,
                    "Dtype of the weights in memory: auto (the checkpoint's), "
                    "float32, bfloat16, float16")
        ->capture_default_str();
  }
  command.add_flag("--force", force, "Accept adapters that were trained on other base values");
}

std::vector<ScaledAdapter> load_scaled_adapters(const std::vector<std::string>& texts,
                                                const BaseParameters& base) {
  std::vector<ScaledAdapter> adapters;
  for (const std::string& text : texts) adapters.push_back(load_scaled_adapter(text, base));
  return adapters;
}

void check_new_directory(const std::string& output) {
  SHIRA_CHECK(ConfigError, !output.empty(), "--output: give a directory.");
  SHIRA_CHECK(ConfigError, !std::filesystem::exists(output), "--output ", output,
              " exists already. Give a new directory.");
}

ByteProgress log_progress(const std::string& done_word) {
  using Clock = std::chrono::steady_clock;
  auto last = std::make_shared<Clock::time_point>(Clock::now());
  return [done_word, last](std::uint64_t done, std::uint64_t total) {
    if (Clock::now() - *last < std::chrono::seconds(5)) return;
    *last = Clock::now();
    log_info(detail::concat(done_word, " ", bytes_text(static_cast<double>(done)), " of ",
                            bytes_text(static_cast<double>(total))));
  };
}

std::filesystem::path ModelFlags::directory() const { return resolve_base_model(base_model); }

std::function<std::string(const std::string&)> at_least(std::uint64_t least) {
  return [least](const std::string& text) {
    std::uint64_t number = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error == std::errc() && stop == end && number >= least) return std::string();
    return detail::concat("must be a whole number of at least ", least, " and below 2^64. Got ",
                          text, ".");
  };
}

AdaptedModel::AdaptedModel(const ModelFlags& flags, LoadOptions options)
    : model(load_llama(flags.directory(), with_dtype(std::move(options), flags.base_dtype))),
      switcher(*model) {
  if (flags.adapters.empty()) return;
  const auto adapters = load_scaled_adapters(flags.adapters, parameters_of(*model));
  switcher.apply(switcher.resolve(adapters, {.force = flags.force}));
}

AdaptedPipeline::AdaptedPipeline(const ModelFlags& flags)
    : pipeline(flags.directory(),
               LoadOptions{.dtype = parse_base_dtype(flags.base_dtype),
                           .writable =
                               [adapted = !flags.adapters.empty()](const std::string& name) {
                                 return adapted && !name.starts_with("vae.");
                               }}),
      switcher(*pipeline),
      force(flags.force) {
  adapters = load_scaled_adapters(flags.adapters, parameters_of(*pipeline));
}

void AdaptedPipeline::scale_adapters(double factor) {
  if (adapters.empty()) return;
  std::vector<ScaledAdapter> scaled = adapters;
  for (ScaledAdapter& adapter : scaled) adapter.scale *= factor;
  switcher.switch_to(switcher.resolve(scaled, {.force = force}));
}

}  // namespace shira::tools
