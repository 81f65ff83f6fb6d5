// shira mask CONFIG.yaml: the masks that `shira train CONFIG.yaml` would train, in numbers, as a
// file and as a picture. The weights stay in their mapped files.
#include "commands.h"
#include "numbers.h"

#include <shira/base/error.h>
#include <shira/config/config_parser.h>
#include <shira/io/directory_lock.h>
#include <shira/io/hub_cache.h>
#include <shira/io/mask_picture.h>
#include <shira/nn/parameters.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/mask_file.h>
#include <shira/sparse/mask_report.h>
#include <shira/tasks/causal_lm.h>
#include <shira/tasks/diffusion_run.h>
#include <shira/tasks/training_run.h>

#include <ATen/Parallel.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <iomanip>
#include <iostream>
#include <optional>

namespace shira::tools {
namespace {

struct MaskFlags {
  std::string config;
  std::vector<std::string> overrides;
  std::string output;
  std::string tensor;
  std::string picture;
  bool json = false;
};

struct MaskedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  MaskReport report;
};

struct MaskSummary {
  std::string mask_type;
  std::vector<MaskedTensor> tensors;
  std::int64_t nnz = 0;
  std::int64_t targets = 0;            // entries of the masked tensors
  std::int64_t total = 0;              // of the model
  std::optional<std::int64_t> budget;  // of a struct mask, which does not meet it exactly
};

void check_has_masks(const RunConfig& config) {
  SHIRA_CHECK(ConfigError, config.adapter == "shira" || config.adapter == "wm_dora",
              "adapter: ", config.adapter, " has no masks to build.");
  SHIRA_CHECK(ConfigError, config.adapter_dir.empty(), "adapter_dir ", config.adapter_dir,
              ": the run trains the entries of that adapter; `shira inspect` describes them.");
}

/// A model with its masks.
struct MaskedModel {
  std::shared_ptr<torch::nn::Module> module;
  MaskMap masks;
};

/// Masks that need gradients need the model in the run's dtype; the others look at one tensor after
/// the other.
MaskedModel mask_language_model(const RunConfig& config) {
  const auto base = resolve_base_model(config.base_model);
  const auto dtype = needs_calibration(config) ? parse_base_dtype(config.base_dtype) : std::nullopt;
  Llama model =
      load_llama(base, {.dtype = dtype, .writable = [](const std::string&) { return false; }});
  if (!needs_calibration(config)) return {model.ptr(), make_masks(config, *model)};
  DataLoader data = make_train_loader(config, load_datasets(config, Tokenizer(base)).train);
  CausalLmObjective objective(model);
  const CalibrationData calibration{objective, data};
  return {model.ptr(), make_masks(config, *model, &calibration)};
}

MaskedModel mask_pipeline(const RunConfig& config) {
  RunConfig loading = config;
  if (!needs_calibration(config)) loading.base_dtype = "auto";
  DiffusionPipeline pipeline = load_base_pipeline(loading, /*only_look=*/true);
  const auto trained = trained_parts(config, pipeline);
  if (!needs_calibration(config)) return {trained, make_masks(config, *trained)};
  DiffusionData data = make_train_data(config, pipeline, load_pictures(config).train);
  DiffusionObjective objective(pipeline, objective_options(config, pipeline));
  const CalibrationData calibration{objective, data};
  return {trained, make_masks(config, *trained, &calibration)};
}

MaskSummary summarise(const RunConfig& config, const MaskedModel& masked) {
  MaskSummary summary;
  summary.mask_type = config.shira_mask;
  if (config.shira_mask == "struct") summary.budget = 0;
  for (const auto& [name, mask] : masked.masks) {
    summary.tensors.push_back({name, mask.shape(), describe_mask(mask)});
    summary.nnz += mask.nnz();
    summary.targets += mask.numel();
    if (summary.budget) {
      *summary.budget += mask_nnz({config.shira_density, config.shira_r}, mask.shape());
    }
  }
  for (const auto& [name, tensor] : nn::unique_parameters(*masked.module)) {
    summary.total += tensor.numel();
  }
  return summary;
}

void draw(const MaskMap& masks, const std::string& tensor, const std::string& path) {
  const auto found = masks.find(tensor);
  SHIRA_CHECK(ConfigError, found != masks.end(), "--draw: '", tensor,
              "' is not among the tensors that are trained, as ", masks.begin()->first, " is.");
  const SparseMask& mask = found->second;
  const std::int64_t rows = mask.shape().front();
  write_png(path, draw_mask(rows, mask.numel() / rows,
                            {mask.indices().const_data_ptr<std::int32_t>(),
                             static_cast<std::size_t>(mask.nnz())}));
}

using TableRow = std::array<std::string, 7>;

TableRow table_row(const MaskedTensor& tensor) {
  const MaskReport& report = tensor.report;
  return {tensor.name,
          shape_text(tensor.shape),
          std::to_string(report.nnz),
          percent_text(report.nnz, c10::multiply_integers(tensor.shape)),
          std::to_string(report.structural_rank),
          std::to_string(report.rows),
          std::to_string(report.columns)};
}

void print_table(const std::vector<TableRow>& rows) {
  std::size_t width = 0;
  for (const TableRow& row : rows) width = std::max(width, row.front().size());
  for (const TableRow& row : rows) {
    std::cout << std::left << std::setw(static_cast<int>(width) + 2) << row[0] << std::setw(14)
              << row[1] << std::right;
    for (std::size_t i = 2; i < row.size(); ++i) std::cout << std::setw(10) << row[i];
    std::cout << "\n";
  }
}

void print_text(const MaskSummary& summary) {
  std::vector<TableRow> rows{{"tensor", "shape", "entries", "density", "rank", "rows", "columns"}};
  for (const MaskedTensor& tensor : summary.tensors) rows.push_back(table_row(tensor));
  print_table(rows);
  std::cout << "trained: " << summary.nnz << " entries, "
            << percent_text(summary.nnz, summary.targets) << " of the targets, "
            << percent_text(summary.nnz, summary.total) << " of the model\n";
  if (summary.budget) std::cout << "budget:  " << *summary.budget << " entries\n";
}

void print_json(const MaskSummary& summary) {
  const auto share_of = [&](std::int64_t whole) {
    return static_cast<double>(summary.nnz) / static_cast<double>(whole);
  };
  nlohmann::ordered_json object = {{"mask_type", summary.mask_type},
                                   {"nnz", summary.nnz},
                                   {"target_parameters", summary.targets},
                                   {"total_parameters", summary.total},
                                   {"share_of_targets", share_of(summary.targets)},
                                   {"share_of_model", share_of(summary.total)}};
  if (summary.budget) object["budget"] = *summary.budget;
  for (const auto& [name, shape, report] : summary.tensors) {
    object["tensors"].push_back({{"name", name},
                                 {"shape", shape},
                                 {"nnz", report.nnz},
                                 {"density", report.density},
                                 {"structural_rank", report.structural_rank},
                                 {"rows", report.rows},
                                 {"columns", report.columns}});
  }
  std::cout << object.dump() << "\n";
}

void mask(const MaskFlags& flags) {
  const RunConfig config = load_config(flags.config, flags.overrides);
  check_has_masks(config);
  for (const std::string& file : {flags.output, flags.picture}) {
    if (file.empty()) continue;
    check_output_directory("the directory of", std::filesystem::absolute(file).parent_path());
  }
  if (config.num_threads > 0) at::set_num_threads(static_cast<int>(config.num_threads));
  const MaskedModel masked =
      is_text_to_image(config) ? mask_pipeline(config) : mask_language_model(config);
  const MaskSummary summary = summarise(config, masked);
  if (!flags.output.empty()) save_masks(flags.output, masked.masks);
  if (!flags.picture.empty()) draw(masked.masks, flags.tensor, flags.picture);
  flags.json ? print_json(summary) : print_text(summary);
}

}  // namespace

void add_mask(CLI::App& app, int&) {
  auto flags = std::make_shared<MaskFlags>();
  CLI::App* command = app.add_subcommand("mask", "Build and describe the masks of a configuration");
  command->add_option("config", flags->config, "Configuration file of a training run")->required();
  command
      ->add_option("--set", flags->overrides,
                   "Override a key: --set shira_mask=struct; may be repeated")
      ->allow_extra_args(false);
  command->add_option("-o,--output", flags->output,
                      "File for the masks; `shira_mask: FILE` trains them");
  CLI::Option* tensor =
      command->add_option("--draw", flags->tensor, "Parameter whose mask to draw, with --picture");
  CLI::Option* picture = command->add_option("--picture", flags->picture, "PNG file of that mask");
  tensor->needs(picture);
  picture->needs(tensor);
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->callback([flags] { mask(*flags); });
}

}  // namespace shira::tools
