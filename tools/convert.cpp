// shira convert: adapters between our layout and PEFT's.
#include "commands.h"

#include <shira/base/error.h>
#include <shira/io/adapter_layout.h>
#include <shira/io/atomic_file.h>
#include <shira/io/hub_cache.h>
#include <shira/sparse/base_checkpoint.h>
#include <shira/sparse/fuse.h>
#include <shira/sparse/lora_projection.h>
#include <shira/sparse/peft_adapter.h>

#include <nlohmann/json.hpp>

#include <iomanip>
#include <iostream>
#include <optional>

namespace shira::tools {
namespace {

struct ConvertFlags {
  std::string directory;
  std::string to;
  std::string base_model;
  std::optional<double> density;
  std::string output;
  bool json = false;
};

using Json = nlohmann::ordered_json;

void check_flags(const ConvertFlags& flags, AdapterLayout from) {
  check_new_directory(flags.output);
  const bool is_done = from == AdapterLayout::kShira
                           ? flags.to == "shira"
                           : from == AdapterLayout::kPeftShira && flags.to == "peft";
  SHIRA_CHECK(ConfigError, !is_done, flags.directory, " is in the layout --to ", flags.to,
              " already.");
  const bool is_lora = is_lora_layout(from);
  SHIRA_CHECK(ConfigError, is_lora == flags.density.has_value(), flags.directory, " is ",
              layout_name(from),
              is_lora ? ": give --density, the share of each tensor to keep."
                      : ": --density is for LoRA, which it projects.");
  const bool is_share = !is_lora || (*flags.density > 0.0 && *flags.density <= 1.0);
  SHIRA_CHECK(ConfigError, is_share, "--density is ", *flags.density,
              ", expected a share above 0 and up to 1.");
  const bool needs_base = from != AdapterLayout::kShira;
  SHIRA_CHECK(ConfigError, !needs_base || !flags.base_model.empty(), flags.directory, " is ",
              layout_name(from), ": give --base_model, the base it was trained on.");
}

/// The adapter as what is to be written; a projection's errors go into `report`.
SparseAdapter load_converted(const ConvertFlags& flags, AdapterLayout from, const BaseTensors& base,
                             Json& report) {
  if (is_lora_layout(from)) {
    LoraProjection projection = project_lora(
        load_any_adapter(flags.directory, [&] { return base; }).lora, base, *flags.density);
    report["relative_error"] = projection.error;
    report["relative_errors"] = projection.errors;
    return std::move(projection.adapter);
  }
  if (from == AdapterLayout::kShira) return load_adapter(flags.directory);
  SparseAdapter deltas = load_peft_adapter(flags.directory, base);
  if (flags.to == "peft") return deltas;
  SparseAdapter weights = fuse_adapters(base, {{deltas}}).adapter;
  weights.base_model = deltas.base_model;
  weights.mask_type = deltas.mask_type;
  return weights;
}

/// What PEFT calls the base's task; empty when its config.json does not say.
std::string task_type_of(const std::filesystem::path& base_model) {
  const auto path = base_model / "config.json";
  if (base_model.empty() || !std::filesystem::exists(path)) return "";
  const Json config = Json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object() || !config.contains("architectures")) return "";
  return config["architectures"].dump().find("ForCausalLM") != std::string::npos ? "CAUSAL_LM" : "";
}

void write_converted(const ConvertFlags& flags, const SparseAdapter& adapter,
                     const std::filesystem::path& base_model, const BaseTensors& base) {
  SHIRA_CHECK(ConfigError,
              flags.to == "shira" || adapter.kind == ValueKind::kDeltas || !base.empty(),
              flags.directory, " holds new weights, PEFT's SHiRA differences: give --base_model.");
  write_directory(flags.output, [&](const std::filesystem::path& directory) {
    if (flags.to == "shira") return save_adapter(directory, adapter);
    save_peft_adapter(directory, adapter, base, task_type_of(base_model));
  });
}

void print_text(const Json& report) {
  std::cout << report["layout"].get<std::string>() << " adapter in "
            << report["output"].get<std::string>() << ": " << report["tensors"] << " tensors, "
            << report["nnz"] << " entries\n";
  if (!report.contains("relative_error")) return;
  std::cout << std::fixed << std::setprecision(4) << "relative error "
            << report["relative_error"].get<double>()
            << " (Frobenius norm of the changes left out / of all changes)\n";
  for (const auto& [name, error] : report["relative_errors"].items()) {
    std::cout << "  " << error.get<double>() << "  " << name << "\n";
  }
}

void convert(const ConvertFlags& flags) {
  const AdapterLayout from = adapter_layout(flags.directory);
  check_flags(flags, from);
  std::filesystem::path base_model;
  BaseTensors base;
  if (!flags.base_model.empty()) {
    base_model = resolve_base_model(flags.base_model);
    base = map_checkpoint(base_model);
  }
  Json report = {{"output", flags.output}, {"from", layout_name(from)}, {"layout", flags.to}};
  const SparseAdapter adapter = load_converted(flags, from, base, report);
  write_converted(flags, adapter, base_model, base);
  report["tensors"] = adapter.tensors.size();
  report["nnz"] = adapter.nnz();
  if (flags.json) {
    std::cout << report.dump() << "\n";
  } else {
    print_text(report);
  }
}

}  // namespace

void add_convert(CLI::App& app, int&) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* command = app.add_subcommand(
      "convert",
      "Convert an adapter between our layout and PEFT's: PEFT SHiRA and Super-Tuning become new "
      "weights (shira), ours becomes PEFT SHiRA (peft), LoRA and DoRA are projected to their "
      "largest changes. With a diffusers pipeline each component gets a PEFT directory of its own: "
      "OUT/unet, OUT/text_encoder, ...");
  command
      ->add_option("directory", flags->directory,
                   "Adapter directory, or a LoRA file of a diffusers pipeline (.safetensors)")
      ->required();
  command->add_option("--to", flags->to, "Layout to write: shira or peft")
      ->required()
      ->check(CLI::IsMember({"shira", "peft"}));
  command->add_option("--base_model", flags->base_model,
                      "The adapter's base, a directory or org/name in the local cache; needed "
                      "unless a shira adapter holds differences");
  command->add_option(
      "--density", flags->density,
      "LoRA and DoRA: share of each tensor's entries to keep, largest change first");
  command->add_option("-o,--output", flags->output, "New adapter directory")->required();
  command->add_flag("--json", flags->json,
                    "Print {output, from, layout, tensors, nnz}, for LoRA also relative_error and "
                    "relative_errors by tensor");
  command->callback([flags] { convert(*flags); });
}

}  // namespace shira::tools
