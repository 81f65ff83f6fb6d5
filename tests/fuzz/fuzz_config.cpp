// Any text is either refused with ConfigError or gives a configuration that to_yaml and load_config
// bring back. An input is a file; what follows a line of "=====" are overrides, one a line.
#include "fuzz_directory.h"
#include "mutation_driver.h"

#include <shira/base/error.h>
#include <shira/config/config_parser.h>

#include <optional>
#include <sstream>

namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::optional<shira::RunConfig> load(const std::string& yaml,
                                     const std::vector<std::string>& overrides) {
  static const shira::FuzzDirectory directory;
  try {
    return shira::load_config(directory.write("my.yaml", yaml), overrides);
  } catch (const shira::ConfigError&) {
    return std::nullopt;
  }
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  const std::string required = "base_model: m\ndatasets: [{path: a}]\noutput_dir: o\n";
  const std::string separator(shira::kFuzzSeparator);
  return {required,
          shira::to_yaml(*load(required, {})),
          required + "bf16: yes\nshira_mask: struct\nshira_struct_axis: column\nshira_r: 2\n",
          required + "adapter: full\nweight_decay: 1e-2\nval_set_size: .5\nwarmup_ratio: 0.1\n",
          required +
              "eval_steps: 3\nval_set_size: 8\nearly_stopping_patience: 2\n"
              "sample_prompts: [\"a\\x07\\u00e9\", 'b''c', {}]\n",
          "base_model: &a |\n  m\n  n\ndatasets:\n- path: *a\n  type: alpaca\n  weight: 0.5\n"
          "output_dir: >-\n  o\n  p\n" +
              separator + "seed=3\ntarget_modules=[q, 'v: w']\nmax_steps="};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto [yaml, overrides] = shira::two_parts(data, size);
  const auto config = load(yaml, lines_of(overrides));
  if (!config) return 0;
  const std::string resolved = shira::to_yaml(*config);
  const auto again = load(resolved, {});
  if (!again || shira::to_yaml(*again) != resolved) std::abort();
  return 0;
}
