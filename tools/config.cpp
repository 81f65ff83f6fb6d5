// shira config: check a configuration, print it with every default filled in, or describe the keys.
#include "commands.h"

#include <shira/base/error.h>
#include <shira/config/config_parser.h>
#include <shira/config/config_schema.h>

#include <iostream>

namespace shira::tools {
namespace {

struct ConfigFlags {
  std::vector<std::string> files;
  std::string file;
  std::vector<std::string> overrides;
};

/// Checks every file before it fails.
void validate(const std::vector<std::string>& files) {
  std::string problems;
  for (const std::string& file : files) {
    try {
      load_config(file);
      std::cout << file << ": valid\n";
    } catch (const Error& error) {
      problems += (problems.empty() ? "" : "\n") + std::string(error.what());
    }
  }
  SHIRA_CHECK(ConfigError, problems.empty(), problems);
}

void add_validate(CLI::App& config, const std::shared_ptr<ConfigFlags>& flags) {
  CLI::App* command = config.add_subcommand("validate", "Report every problem of a configuration");
  command->add_option("files", flags->files, "Configuration files")->required();
  command->callback([flags] { validate(flags->files); });
}

void add_show(CLI::App& config, const std::shared_ptr<ConfigFlags>& flags) {
  CLI::App* command = config.add_subcommand("show", "Print the resolved configuration as YAML");
  command->add_option("file", flags->file, "Configuration file")->required();
  command
      ->add_option("--set", flags->overrides,
                   "Override a key: --set learning_rate=1e-3; may be repeated")
      ->allow_extra_args(false);
  command->callback([flags] { std::cout << to_yaml(load_config(flags->file, flags->overrides)); });
}

void add_schema(CLI::App& config) {
  CLI::App* command = config.add_subcommand("schema", "Print a JSON schema of configurations");
  command->callback([] { std::cout << config_json_schema(); });
}

}  // namespace

void add_config(CLI::App& app, int&) {
  auto flags = std::make_shared<ConfigFlags>();
  CLI::App* command =
      app.add_subcommand("config", "Check, print or describe training configurations");
  command->require_subcommand(1);
  add_validate(*command, flags);
  add_show(*command, flags);
  add_schema(*command);
}

}  // namespace shira::tools
