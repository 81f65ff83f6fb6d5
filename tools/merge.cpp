// shira merge: a full checkpoint with the adapters applied.
#include "commands.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>

#include <iostream>

namespace shira::tools {
namespace {

struct MergeFlags {
  ModelFlags model;
  std::string output;
};

void merge(const MergeFlags& flags) {
  SHIRA_CHECK(ConfigError, !flags.output.empty(), "--output: give a directory.");
  SHIRA_CHECK(ConfigError, !std::filesystem::exists(flags.output), "--output ", flags.output,
              " exists already. Give a new directory.");
  AdaptedModel adapted(flags.model);
  write_directory(flags.output, [&](const std::filesystem::path& directory) {
    save_llama(directory, adapted.model, flags.model.directory());
  });
  std::cout << "merged checkpoint in " << flags.output << "\n";
}

}  // namespace

void add_merge(CLI::App& app, int&) {
  auto flags = std::make_shared<MergeFlags>();
  CLI::App* command = app.add_subcommand("merge", "Write a full checkpoint with adapters applied");
  flags->model.add_to(*command);
  command->get_option("--adapter")->required();
  command->add_option("-o,--output", flags->output, "New checkpoint directory")->required();
  command->callback([flags] { merge(*flags); });
}

}  // namespace shira::tools
