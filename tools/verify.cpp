// shira verify: this implementation against transformers or diffusers, tensor by tensor.
#include "commands.h"

#include <shira/base/error.h>
#include <shira/models/load_unet.h>
#include <shira/tasks/verify.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <iostream>

namespace shira::tools {
namespace {

struct VerifyFlags {
  ModelFlags model;
  std::string reference;
  double tolerance = 1e-4;
  bool json = false;
};

constexpr std::size_t kWorstShown = 5;

/// Worst first; a NaN is worst of all.
void sort_by_error(std::vector<TensorDifference>& tensors) {
  const auto key = [](const TensorDifference& tensor) {
    return std::isnan(tensor.relative()) ? HUGE_VAL : tensor.relative();
  };
  std::stable_sort(tensors.begin(), tensors.end(),
                   [&](const auto& a, const auto& b) { return key(a) > key(b); });
}

void print_table(const VerifyReport& report, double tolerance) {
  std::cout << (report.passed() ? "passed: " : "FAILED: ") << report.tensors.size()
            << " tensors, tolerance " << tolerance << " (max abs error / max abs reference)\n";
  for (std::size_t i = 0; i < report.tensors.size(); ++i) {
    const TensorDifference& tensor = report.tensors[i];
    if (i >= kWorstShown && tensor.passed) continue;
    std::cout << "  " << (tensor.passed ? "ok   " : "WRONG") << "  " << std::scientific
              << std::setprecision(2) << tensor.relative() << std::defaultfloat << "  "
              << tensor.name << "\n";
  }
}

void print_json(const VerifyReport& report, double tolerance) {
  nlohmann::ordered_json tensors;
  double max_abs_error = 0.0;
  for (const TensorDifference& tensor : report.tensors) {
    max_abs_error = std::max(max_abs_error, tensor.max_abs_error);
    tensors[tensor.name] = {{"max_abs_error", tensor.max_abs_error},
                            {"max_abs_reference", tensor.max_abs_reference},
                            {"passed", tensor.passed}};
  }
  const nlohmann::ordered_json object = {{"passed", report.passed()},
                                         {"tolerance", tolerance},
                                         {"max_abs_error", max_abs_error},
                                         {"worst_tensor", report.tensors.front().name},
                                         {"tensors", tensors}};
  std::cout << object.dump() << "\n";
}

VerifyReport compare_llama(const VerifyFlags& flags, const LoadOptions& options) {
  AdaptedModel adapted(flags.model, options);
  return verify(adapted.model, flags.reference, flags.tolerance);
}

/// An adapter names its tensors in the whole pipeline ("unet.conv_in.weight").
VerifyReport compare_unet(const VerifyFlags& flags, const std::filesystem::path& directory,
                          const LoadOptions& options) {
  if (flags.model.adapters.empty()) {
    Unet model = load_unet(directory, options);
    return verify(model, flags.reference, flags.tolerance);
  }
  SHIRA_CHECK(ConfigError, directory != flags.model.directory(),
              "--adapter needs the whole "
              "pipeline as --base_model, the directory with model_index.json. Got ",
              directory.string(), ".");
  ModelFlags model = flags.model;
  model.base_dtype = "float32";
  AdaptedPipeline adapted(model);
  adapted.scale_adapters(1.0);
  return verify(adapted.pipeline->unet, flags.reference, flags.tolerance);
}

int verify_model(const VerifyFlags& flags) {
  const LoadOptions options = {.dtype = torch::kFloat32,
                               .writable = [](const std::string&) { return true; }};
  const auto unet = unet_directory(flags.model.directory());
  VerifyReport report =
      unet.empty() ? compare_llama(flags, options) : compare_unet(flags, unet, options);
  sort_by_error(report.tensors);
  flags.json ? print_json(report, flags.tolerance) : print_table(report, flags.tolerance);
  return report.passed() ? 0 : 1;
}

}  // namespace

void add_verify(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<VerifyFlags>();
  CLI::App* command = app.add_subcommand(
      "verify", "Compare a model's outputs, loss and gradients with a reference state, in float32");
  flags->model.add_to(*command, /*with_dtype=*/false);
  command
      ->add_option("--reference", flags->reference,
                   "File of scripts/make_reference_state.py, or of\n"
                   "scripts/make_unet_reference.py for a diffusers UNet")
      ->required();
  command
      ->add_option("--tolerance", flags->tolerance,
                   "On max abs error / max abs reference, for each tensor")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print {passed, max_abs_error, worst_tensor, tensors}");
  command->callback([flags, &exit_code] { exit_code = verify_model(*flags); });
}

}  // namespace shira::tools
