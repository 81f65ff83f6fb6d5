// shira imagine: pictures from a diffusers pipeline with adapters applied.
#include "commands.h"

#include <shira/base/error.h>
#include <shira/io/safetensors.h>
#include <shira/sparse/tensor_file.h>
#include <shira/tasks/image_generation.h>
#include <shira/tasks/noise_scheduler.h>
#include <shira/train/progress.h>

#include <nlohmann/json.hpp>

#include <charconv>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

namespace shira::tools {
namespace {

struct ImagineFlags {
  ModelFlags model;
  std::vector<std::string> prompts;
  ImagineOptions options;
  std::string output;
  std::string grid;
  bool wants_grid = false;
  std::string latents;
  std::string save_latents;
  bool vae_tiling = false;
  bool json = false;
};

constexpr std::string_view kScaleGrid = "adapter_scale=";

/// The numbers of "adapter_scale=0,0.5,1"; 1 where there is nothing of the kind.
std::vector<double> grid_scales(const ImagineFlags& flags) {
  if (flags.grid.empty()) return {1.0};
  SHIRA_CHECK(ConfigError, flags.grid.starts_with(kScaleGrid), "--grid ", flags.grid,
              ": expected adapter_scale=0,0.5,1, or nothing.");
  SHIRA_CHECK(ConfigError, !flags.model.adapters.empty(),
              "--grid adapter_scale needs an --adapter.");
  std::vector<double> scales;
  const char* at = flags.grid.data() + kScaleGrid.size();
  const char* end = flags.grid.data() + flags.grid.size();
  while (true) {
    double scale = 0.0;
    const auto [next, error] = std::from_chars(at, end, scale);
    const bool is_number = error == std::errc() && std::isfinite(scale);
    SHIRA_CHECK(ConfigError, is_number && (next == end || *next == ','), "--grid ", flags.grid,
                ": expected numbers with commas between them after adapter_scale=.");
    scales.push_back(scale);
    if (next == end) return scales;
    at = next + 1;
  }
}

void check_flags(const ImagineFlags& flags) {
  const std::filesystem::path output = flags.output;
  SHIRA_CHECK(ConfigError, output.extension() == ".png", "--output ", flags.output,
              ": expected the name of a .png file.");
  for (const std::filesystem::path file : {flags.output, flags.save_latents}) {
    const auto folder = file.parent_path();
    SHIRA_CHECK(ConfigError, folder.empty() || std::filesystem::is_directory(folder), file.string(),
                ": there is no directory ", folder.string(), ".");
  }
}

/// The tensor "latents" of a safetensors file.
torch::Tensor read_latents(const std::string& path) {
  const SafetensorsFile file{std::filesystem::path(path)};
  SHIRA_CHECK(IoError, file.contains("latents"), path, ": has no tensor 'latents'.");
  torch::Tensor latents = copy_tensor(file.view("latents"), torch::kFloat32);
  SHIRA_CHECK(IoError, latents.isfinite().all().item<bool>(), path,
              ": 'latents' has values that are not finite.");
  return latents;
}

/// A bar over all the steps of `rounds` calls of imagine; how many a call has it tells itself.
struct DenoisingProgress {
  std::int64_t rounds = 1;
  std::int64_t done = 0;  // steps of earlier calls
  std::optional<ProgressBar> bar = {};

  void update(std::int64_t step, std::int64_t steps) {
    if (!bar) {
      ProgressOptions options;
      options.total_steps = rounds * steps;
      options.logging_steps = std::max<std::int64_t>(1, options.total_steps / 10);
      options.is_terminal = stderr_is_terminal();
      bar.emplace(std::cerr, options);
    }
    bar->update(done + step, "denoising");
    if (step == steps) done += steps;
    if (done == rounds * steps) bar->finish();
  }
};

/// The pictures of every scale, or of the adapters as they are given: [column][picture].
std::vector<std::vector<Picture>> imagine_columns(ImagineFlags& flags, Imagined& last) {
  const std::vector<double> scales = grid_scales(flags);
  AdaptedPipeline adapted(flags.model);
  adapted.pipeline->vae->tiling = flags.vae_tiling;
  DenoisingProgress progress{.rounds = std::ssize(scales)};
  flags.options.on_step = [&](std::int64_t step, std::int64_t steps) {
    progress.update(step, steps);
  };
  std::vector<std::vector<Picture>> columns;
  for (const double scale : scales) {
    adapted.scale_adapters(scale);
    last = imagine(adapted.pipeline, flags.prompts, flags.options);
    columns.emplace_back();
    for (const torch::Tensor& pixels : last.pixels.unbind()) {
      columns.back().push_back(to_picture(pixels));
    }
  }
  return columns;
}

/// One sheet of all pictures: a row a picture and a column a scale, or a row a prompt.
Picture sheet_of(const std::vector<std::vector<Picture>>& columns, std::int64_t num_images) {
  if (columns.size() == 1) return picture_grid(columns[0], static_cast<int>(num_images));
  std::vector<Picture> pictures;
  for (std::size_t row = 0; row < columns[0].size(); ++row) {
    for (const auto& column : columns) pictures.push_back(column[row]);
  }
  return picture_grid(pictures, static_cast<int>(columns.size()));
}

/// Writes one file, or a numbered one for each picture: FILE-1.png, FILE-2.png, ...
std::vector<std::string> write_pictures(const ImagineFlags& flags,
                                        const std::vector<std::vector<Picture>>& columns) {
  const std::filesystem::path output = flags.output;
  if (flags.wants_grid) {
    write_png(output, sheet_of(columns, flags.options.num_images));
    return {flags.output};
  }
  const std::vector<Picture>& pictures = columns[0];
  std::vector<std::string> files;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    std::filesystem::path path = output;
    if (pictures.size() > 1) {
      path.replace_filename(output.stem().string() + "-" + std::to_string(i + 1) + ".png");
    }
    write_png(path, pictures[i]);
    files.push_back(path.string());
  }
  return files;
}

void imagine_pictures(ImagineFlags flags) {
  check_flags(flags);
  if (!flags.latents.empty()) flags.options.latents = read_latents(flags.latents);
  Imagined last;
  const auto columns = imagine_columns(flags, last);
  const std::vector<std::string> files = write_pictures(flags, columns);
  if (!flags.save_latents.empty()) {
    save_tensors(flags.save_latents, {{"latents", last.noise}, {"denoised", last.denoised}});
  }
  if (flags.json) {
    const nlohmann::ordered_json object = {{"files", files},
                                           {"width", columns[0][0].width},
                                           {"height", columns[0][0].height},
                                           {"seed", flags.options.seed}};
    std::cout << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  } else {
    for (const std::string& file : files) std::cout << file << "\n";
  }
}

std::string known_schedulers() {
  std::string names;
  for (const std::string& name : noise_scheduler_names()) {
    names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

void add_sampling_options(CLI::App& command, ImagineOptions& options) {
  command.add_option("--negative_prompt", options.negative_prompt, "What guidance leads away from");
  command.add_option("--num_images", options.num_images, "Of each prompt")
      ->check(at_least(1))
      ->capture_default_str();
  command.add_option("--steps", options.steps, "Of denoising")
      ->check(at_least(1))
      ->capture_default_str();
  command.add_option("--guidance_scale", options.guidance_scale,
                     "How strongly the prompt decides; 1 or less is off. 7.5 unless given (5 for "
                     "SDXL)");
  command.add_option("--scheduler", options.scheduler,
                     "Instead of the pipeline's own: " + known_schedulers());
  command
      .add_option("--seed", options.seed, "Of the noise: diffusers' CPU generator draws the same")
      ->check(at_least(0))
      ->capture_default_str();
  command
      .add_option("--width", options.width,
                  "Pixels, a multiple of 8 as a rule; the UNet's own size unless given")
      ->check(at_least(1));
  command
      .add_option("--height", options.height,
                  "Pixels, a multiple of 8 as a rule; the UNet's own size unless given")
      ->check(at_least(1));
}

}  // namespace

void add_imagine(CLI::App& app, int&) {
  auto flags = std::make_shared<ImagineFlags>();
  CLI::App* command = app.add_subcommand("imagine", "Make pictures with a diffusers pipeline");
  flags->model.add_to(*command);
  command->add_option("--prompt", flags->prompts, "What to show; may be repeated")
      ->allow_extra_args(false)
      ->required();
  command
      ->add_option("-o,--output", flags->output,
                   "FILE.png; several pictures are FILE-1.png, FILE-2.png, ... unless --grid")
      ->required();
  add_sampling_options(*command, flags->options);
  CLI::Option* grid =
      command
          ->add_option("--grid", flags->grid,
                       "All pictures on one sheet, a row a prompt; or adapter_scale=0,0.5,1: a "
                       "column for each number, which multiplies the adapters' scales")
          ->expected(0, 1);
  command->add_option("--latents", flags->latents,
                      "Safetensors file with the first noise as 'latents', instead of the seed's");
  command->add_option("--save_latents", flags->save_latents,
                      "Write 'latents', the first noise, and 'denoised' to this safetensors file");
  command->add_flag("--vae_tiling", flags->vae_tiling,
                    "Decode large pictures in tiles: less memory");
  command->add_flag("--json", flags->json, "Print {files, width, height, seed}");
  command->callback([flags, grid] {
    flags->wants_grid = grid->count() > 0;
    imagine_pictures(*flags);
  });
}

}  // namespace shira::tools
