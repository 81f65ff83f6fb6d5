// Configurations as strings: written to a file that is called my.yaml in every message.
#pragma once

#include <shira/base/error.h>
#include <shira/config/config_parser.h>

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace shira::testing {

/// The required keys, lines 1 to 3 of a file; what a test adds starts on line 4.
inline const std::string kRequired =
    "base_model: base\ndatasets: [{path: a.txt}]\noutput_dir: out\n";

/// A fresh directory that the test's process owns.
inline std::filesystem::path fresh_directory() {
  std::string pattern = ::testing::TempDir() + "shira_config_XXXXXX";
  return mkdtemp(pattern.data());
}

inline RunConfig load_text(const std::string& yaml,
                           const std::vector<std::string>& overrides = {}) {
  const auto directory = fresh_directory();
  std::ofstream(directory / "my.yaml") << yaml;
  const RunConfig config = load_config(directory / "my.yaml", overrides);
  std::filesystem::remove_all(directory);
  return config;
}

/// The lines of the ConfigError, "" when there is none. The directory is cut off the file's name.
inline std::string problems_of(const std::string& yaml,
                               const std::vector<std::string>& overrides = {}) {
  const auto directory = fresh_directory();
  std::ofstream(directory / "my.yaml") << yaml;
  std::string message;
  try {
    load_config(directory / "my.yaml", overrides);
  } catch (const ConfigError& error) {
    message = error.what();
  }
  std::filesystem::remove_all(directory);
  const std::string prefix = directory.string() + "/";
  for (auto at = message.find(prefix); at != std::string::npos; at = message.find(prefix)) {
    message.erase(at, prefix.size());
  }
  return message;
}

/// The problems that `lines` add to a configuration that is otherwise complete.
inline std::string problems_with(const std::string& lines,
                                 const std::vector<std::string>& overrides = {}) {
  return problems_of(kRequired + lines, overrides);
}

}  // namespace shira::testing
