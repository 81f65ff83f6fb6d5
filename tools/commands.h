// What the subcommands share: how they are added, how a model with adapters is given and loaded.
#pragma once

#include <shira/models/llama.h>
#include <shira/models/load_llama.h>
#include <shira/sparse/adapter_switcher.h>
#include <shira/sparse/any_adapter.h>
#include <shira/sparse/merge_checkpoint.h>
#include <shira/tasks/diffusion_pipeline.h>
#include <shira/text/tokenizer.h>

#include <CLI/CLI.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace shira::tools {

/// Each adds one subcommand; its callback leaves the exit code in `exit_code`.
void add_train(CLI::App& app, int& exit_code);
void add_generate(CLI::App& app, int& exit_code);
void add_imagine(CLI::App& app, int& exit_code);
void add_eval(CLI::App& app, int& exit_code);
void add_verify(CLI::App& app, int& exit_code);
void add_tokenize(CLI::App& app, int& exit_code);
void add_mask(CLI::App& app, int& exit_code);
void add_inspect(CLI::App& app, int& exit_code);
void add_fuse(CLI::App& app, int& exit_code);
void add_merge(CLI::App& app, int& exit_code);
void add_diff(CLI::App& app, int& exit_code);
void add_convert(CLI::App& app, int& exit_code);
void add_config(CLI::App& app, int& exit_code);

/// --base_model, --adapter, --base_dtype, --force.
struct ModelFlags {
  std::string base_model;             // a directory or org/name; directory() says where it lies
  std::vector<std::string> adapters;  // DIR or DIR@scale
  std::string base_dtype = "auto";
  bool force = false;

  void add_to(CLI::App& command, bool with_dtype = true);
  /// The base model's checkpoint. IoError when it is not there.
  std::filesystem::path directory() const;
};

/// Loads adapters of any layout, given as DIR or DIR@scale: only a last '@' followed by a number is
/// a scale. `base` as load_any_adapter has it.
std::vector<ScaledAdapter> load_scaled_adapters(const std::vector<std::string>& texts,
                                                const BaseParameters& base);

/// ConfigError unless `output` is a name for a new directory.
void check_new_directory(const std::string& output);

/// Says every five seconds on stderr how many bytes are done: "merged 1.2 GiB of 12.6 GiB".
ByteProgress log_progress(const std::string& done_word);

/// Checks the number of an option: CLI11 would wrap a negative or a very large one around.
std::function<std::string(const std::string&)> at_least(std::uint64_t least);

/// A base with the given adapters applied to it for as long as this lives.
struct AdaptedModel {
  explicit AdaptedModel(const ModelFlags& flags, LoadOptions options = {});

  Llama model;
  AdapterSwitcher switcher;
};

/// A diffusers pipeline and the given adapters, which scale_adapters applies to it.
struct AdaptedPipeline {
  explicit AdaptedPipeline(const ModelFlags& flags);

  /// Applies the adapters, if there are any, with `factor` times their scales.
  void scale_adapters(double factor);

  DiffusionPipeline pipeline;
  AdapterSwitcher switcher;
  std::vector<ScaledAdapter> adapters;
  bool force;
};

}  // namespace shira::tools
