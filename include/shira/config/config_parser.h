// YAML to RunConfig and back.
#pragma once

#include <shira/base/export.h>
#include <shira/config/run_config.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

/// Reads a YAML file, then the overrides ("key=value", the value as YAML: `learning_rate=1e-3`,
/// `target_modules=[q_proj, v_proj]`). ConfigError lists *all* problems of file and overrides: for
/// each its line (or
/// --set), key, value, what is allowed and, for an unknown key, the nearest known one. Required:
/// base_model, datasets, output_dir. IoError when the file cannot be read. Relative paths stay as
/// they are (relative to the working directory).
SHIRA_API RunConfig load_config(const std::filesystem::path& path,
                                const std::vector<std::string>& overrides = {});

/// The resolved configuration as YAML that load_config reads back to an equal struct.
SHIRA_API std::string to_yaml(const RunConfig& config);

}  // namespace shira
