// shira fuse: one adapter from several.
#include "commands.h"

#include <shira/io/atomic_file.h>
#include <shira/sparse/base_checkpoint.h>
#include <shira/sparse/fuse.h>

#include <nlohmann/json.hpp>

#include <iostream>

namespace shira::tools {
namespace {

struct FuseFlags {
  ModelFlags model;
  std::string output;
  bool json = false;
};

void print_report(const FusedAdapter& fused, const FuseFlags& flags) {
  if (flags.json) {
    const auto tensors = fused.adapter.tensors.size() + fused.adapter.whole.size();
    const nlohmann::ordered_json object = {{"output", flags.output},
                                           {"adapters", flags.model.adapters.size()},
                                           {"tensors", tensors},
                                           {"nnz", fused.adapter.nnz()},
                                           {"overlaps", fused.overlaps}};
    std::cout << object.dump() << "\n";
    return;
  }
  std::cout << "fused " << flags.model.adapters.size() << " adapters in " << flags.output << ": "
            << fused.adapter.nnz() << " entries in " << fused.adapter.tensors.size()
            << " tensors, of which " << fused.overlaps << " are in more than one adapter";
  if (!fused.adapter.whole.empty()) {
    std::cout << "; " << fused.adapter.whole.size() << " whole tensors";
  }
  std::cout << "\n";
}

void fuse(const FuseFlags& flags) {
  check_new_directory(flags.output);
  const auto base = map_checkpoint(flags.model.directory());
  const auto adapters = load_scaled_adapters(flags.model.adapters, [&] { return base; });
  FusedAdapter fused = fuse_adapters(base, adapters, {.force = flags.model.force});
  fused.adapter.base_model = flags.model.base_model;
  write_directory(flags.output, [&](const std::filesystem::path& directory) {
    save_adapter(directory, fused.adapter);
  });
  print_report(fused, flags);
}

}  // namespace

void add_fuse(CLI::App& app, int&) {
  auto flags = std::make_shared<FuseFlags>();
  CLI::App* command =
      app.add_subcommand("fuse", "Make one adapter that does what several do together");
  command->footer(
      "On the base given, the new adapter writes the same bits as the adapters together.\n"
      "An entry that one adapter alone has, at scale 1, is copied. Every other entry is\n"
      "W + the sum of scale * (value - W), formed in float64 and rounded once to the dtype of\n"
      "the base's weights (deltas of one adapter alone: W + scale * delta, in float32). A model\n"
      "that is loaded in a wider dtype (--base_dtype) gets those rounded values.");
  command
      ->add_option("--base_model", flags->model.base_model,
                   "HuggingFace checkpoint or diffusers pipeline directory, or org/name in the "
                   "local HuggingFace cache")
      ->required();
  command
      ->add_option("adapters", flags->model.adapters,
                   "Adapter directories (ours, PEFT's or diffusers') or LoRA files (.safetensors), "
                   "optionally with a scale: DIR@0.5")
      ->required();
  command->add_option("-o,--output", flags->output, "New adapter directory")->required();
  command->add_flag("--force", flags->model.force,
                    "Accept adapters that were trained on other base values");
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->callback([flags] { fuse(*flags); });
}

}  // namespace shira::tools
