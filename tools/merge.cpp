// shira merge: a full checkpoint with the adapters applied.
#include "commands.h"
#include "numbers.h"

#include <shira/sparse/base_checkpoint.h>

#include <nlohmann/json.hpp>

#include <iostream>

namespace shira::tools {
namespace {

struct MergeFlags {
  ModelFlags model;
  std::string output;
  bool json = false;
};

void print_report(const MergeReport& report, const MergeFlags& flags) {
  if (flags.json) {
    const nlohmann::ordered_json object = {
        {"output", flags.output},      {"tensors", report.tensors}, {"patched", report.patched},
        {"replaced", report.replaced}, {"added", report.added},     {"removed", report.removed},
        {"bytes", report.bytes}};
    std::cout << object.dump() << "\n";
    return;
  }
  std::cout << "merged checkpoint in " << flags.output << ": " << report.tensors << " tensors, "
            << bytes_text(static_cast<double>(report.bytes)) << "; " << report.patched
            << " patched, " << report.replaced << " replaced, " << report.added << " added, "
            << report.removed << " removed\n";
}

void merge(const MergeFlags& flags) {
  check_new_directory(flags.output);
  const std::filesystem::path base = flags.model.directory();
  const auto adapters =
      load_scaled_adapters(flags.model.adapters, [&] { return map_checkpoint(base); });
  print_report(merge_checkpoint(base, adapters, flags.output,
                                {.force = flags.model.force, .progress = log_progress("merged")}),
               flags);
}

}  // namespace

void add_merge(CLI::App& app, int&) {
  auto flags = std::make_shared<MergeFlags>();
  CLI::App* command = app.add_subcommand(
      "merge", "Write a full checkpoint with adapters applied; works on any HuggingFace directory");
  flags->model.add_to(*command, /*with_dtype=*/false);
  command->get_option("--adapter")->required();
  command->add_option("-o,--output", flags->output, "New checkpoint directory")->required();
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->callback([flags] { merge(*flags); });
}

}  // namespace shira::tools
