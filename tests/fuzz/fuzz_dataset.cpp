// Any file of a data set is either refused with IoError or ConfigError or gives samples that can be
// trained on. An input is a line with the type, then the file. Runs in the project's directory.
#include "fuzz_directory.h"
#include "mutation_driver.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/data/dataset.h>

namespace {

constexpr shira::DatasetOptions kOptions{.sequence_len = 24};

const shira::Tokenizer& tokenizer() {
  static const shira::Tokenizer tokenizer("assets/tiny-llama");
  return tokenizer;
}

bool is_sound(const shira::Sample& sample) {
  const std::size_t size = sample.ids.size();
  if (size < 2 || size > kOptions.sequence_len || sample.labels.size() != size) return false;
  bool has_target = false;
  for (std::size_t i = 0; i < size; ++i) {
    const std::int64_t id = sample.ids[i], label = sample.labels[i];
    if (id < 0 || id >= tokenizer().vocab_size()) return false;
    if (label != id && label != shira::kIgnoreLabel) return false;
    has_target = has_target || (i > 0 && label == id);
  }
  return has_target;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
  return {"text\nOnce upon a time\nthere was a \xe6\x97\xa5 cat.",
          "completion\n{\"text\": \"The tide comes in \\ud83e\\udd9c twice.\"}\n\n{\"text\": \"\"}",
          R"(alpaca
[{"instruction": "Add.", "input": "1, 2", "output": "3"}, {"instruction": "x", "output": "y"}])",
          R"(messages
[{"messages": [{"role": "system", "content": "A"}, {"role": "user", "content": "B"},
{"role": "assistant", "content": "C"}, {"role": "user", "content": "D"}]}])",
          R"(sharegpt
{"conversations": [{"from": "human", "value": "B"}, {"from": "gpt", "value": "C [/INST]"}]})"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const shira::FuzzDirectory directory;
  shira::set_log_level(shira::LogLevel::kOff);
  const std::string input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\n'), size);
  const auto file =
      directory.write("data", std::string_view(input).substr(std::min(end + 1, size)));
  try {
    const auto samples = shira::load_dataset(input.substr(0, end), file, tokenizer(), kOptions);
    if (samples.empty() || !std::ranges::all_of(samples, is_sound)) std::abort();
  } catch (const shira::IoError&) {
  } catch (const shira::ConfigError&) {
  }
  return 0;
}
