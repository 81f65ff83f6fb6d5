// The end of a run. Numbers as people read them; --json has them all.
#include "numbers.h"
#include "run_report.h"

#include <shira/io/atomic_file.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <iostream>

namespace shira::tools {
namespace {

namespace fs = std::filesystem;

/// The most memory that this process has had resident, in bytes; 0 where the system does not say.
std::int64_t peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::int64_t kibibytes = 0;
    if (word == "VmHWM:" && status >> kibibytes) return kibibytes * 1024;
  }
  return 0;
}

/// Of the file that holds the result.
std::int64_t result_size(const RunConfig& config) {
  for (const char* name : {"adapter_model.safetensors", "pytorch_lora_weights.safetensors",
                           "model.safetensors", "unet/diffusion_pytorch_model.safetensors"}) {
    std::error_code missing;
    const auto size = fs::file_size(fs::path(config.output_dir) / name, missing);
    if (!missing) return static_cast<double>(size);
  }
  return 0.0;
}

/// The files and directories beside the result, sorted: "config.yaml, loss.png, ...".
std::string other_files(const RunConfig& config) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(config.output_dir)) {
    names.push_back(entry.path().filename().string() + (entry.is_directory() ? "/" : ""));
  }
  std::ranges::sort(names);
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// In the words of a shell.
std::string quoted(const std::string& text) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+=:,@%";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) return text;
  std::string out = "'";
  for (const char letter : text) out += letter == '\'' ? "'\\''" : std::string(1, letter);
  return out + "'";
}

/// This program as it can be called from the working directory.
std::string program() {
  std::error_code error;
  const fs::path exe = fs::read_symlink("/proc/self/exe", error);
  const fs::path near = error ? fs::path("shira") : fs::proximate(exe, error);
  return quoted(near.string().starts_with("..") ? exe.string() : near.string());
}

std::string items_of(const RunConfig& config) { return run_units(config).items; }

std::string next_command(const RunConfig& config, const TrainResult& result) {
  if (result.stop_signal != 0) {
    const fs::path resolved = fs::path(config.output_dir) / "config.yaml";
    return program() + " train " + quoted(resolved.string()) + " --resume";
  }
  const bool is_full = config.adapter == "full";
  const bool is_pipeline = is_text_to_image(config);
  const auto& prompts = is_pipeline ? config.validation_prompts : config.sample_prompts;
  const std::string usual = is_pipeline ? "a photo of a cat" : "Once upon a time";
  return program() + (is_pipeline ? " imagine" : " generate") + " --base_model " +
         quoted(is_full ? config.output_dir : config.base_model) +
         (is_full ? "" : " --adapter " + quoted(config.output_dir)) + " --prompt " +
         quoted(prompts.empty() ? usual : prompts[0]) + (is_pipeline ? " -o picture.png" : "");
}

void print_losses(const TrainResult& result, bool best_is_result) {
  if (!result.first_eval_loss || !result.last_eval_loss) return;
  std::cout << "held-out loss:      " << *result.first_eval_loss << " before";
  if (result.evaluated_step > 0) std::cout << ", " << *result.last_eval_loss << " after";
  const bool is_older = result.evaluated_step > 0 && result.evaluated_step < result.step;
  if (is_older) std::cout << " " << result.evaluated_step << " steps";
  const bool names_best = result.best_eval_loss && *result.best_eval_loss < *result.last_eval_loss;
  if (names_best) {
    std::cout << "; lowest " << *result.best_eval_loss << " at step " << result.best_step
              << (best_is_result ? ", which is the result" : "");
  }
  std::cout << "\n";
}

}  // namespace

void print_summary(const RunConfig& config, const RunMethod& method, const TrainResult& result) {
  const char* outcome = result.stop_signal != 0 ? "interrupted after "
                        : result.stopped_early  ? "stopped early after "
                                                : "trained ";
  std::cout << outcome << result.step << " of " << result.total_steps << " steps in "
            << seconds_text(result.seconds) << "\n";
  if (result.items > 0) {
    std::cout << "speed:              " << seconds_text(result.median_step_seconds) << " a step, "
              << short_count(result.items_per_second) << " " << items_of(config) << "/s\n";
  }
  std::cout << "trained parameters: " << method.trained << " of " << method.total << " ("
            << percent_text(method.trained, method.total) << ")\n";
  print_losses(result, config.load_best_model_at_end);
  std::cout << "peak memory:        " << bytes_text(peak_memory()) << "\n";
  if (result.stop_signal == 0) {
    std::cout << (config.adapter == "full" ? "checkpoint:         " : "adapter:            ")
              << bytes_text(result_size(config)) << " in " << config.output_dir << "\n";
  }
  std::cout << "files there:        " << other_files(config) << "\n";
  std::cout << "next:               " << next_command(config, result) << "\n";
}

void print_summary_json(const RunConfig& config, const RunMethod& method,
                        const TrainResult& result) {
  nlohmann::ordered_json object = {{"step", result.step},
                                   {"total_steps", result.total_steps},
                                   {"interrupted", result.stop_signal != 0},
                                   {"stopped_early", result.stopped_early},
                                   {"seconds", result.seconds},
                                   {"step_seconds", result.median_step_seconds},
                                   {items_of(config), result.items},
                                   {items_of(config) + "_per_second", result.items_per_second},
                                   {"peak_memory_bytes", peak_memory()},
                                   {"trained_parameters", method.trained},
                                   {"total_parameters", method.total},
                                   {"output_dir", config.output_dir}};
  if (result.stop_signal == 0) object["result_bytes"] = result_size(config);
  if (result.first_eval_loss) object["first_eval_loss"] = *result.first_eval_loss;
  if (result.last_eval_loss) object["eval_loss"] = *result.last_eval_loss;
  if (result.best_eval_loss) {
    object["best_eval_loss"] = *result.best_eval_loss;
    object["best_step"] = result.best_step;
  }
  std::cout << object.dump() << "\n";
}

}  // namespace shira::tools
