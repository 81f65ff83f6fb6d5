// One model in memory, several adapters: switches between them in well under a millisecond here and
// gives back every bit of the base at the end.
//
//   build/bin/switch_adapters BASE_DIR PROMPT ADAPTER_DIR...
#include <shira/shira.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <string>
#include <vector>

namespace {

/// A copy of every parameter, to hold the model against at the end.
std::vector<torch::Tensor> snapshot(const shira::Llama& model) {
  std::vector<torch::Tensor> copies;
  for (const torch::Tensor& parameter : model->parameters()) copies.push_back(parameter.clone());
  return copies;
}

bool is_unchanged(const shira::Llama& model, const std::vector<torch::Tensor>& before) {
  const auto now = model->parameters();
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (!now[i].view(torch::kUInt8).equal(before[i].view(torch::kUInt8))) return false;
  }
  return true;
}

/// Microseconds of the median of 101 runs of `action`.
template <typename Action>
double median_microseconds(Action action) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> times;
  for (int i = 0; i < 101; ++i) {
    const auto begin = Clock::now();
    action();
    times.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
  std::nth_element(times.begin(), times.begin() + 50, times.end());
  return times[50];
}

void print_sample(shira::Llama& model, const shira::Tokenizer& tokenizer,
                  const std::string& prompt) {
  shira::GenerateOptions options{.max_new_tokens = 90, .temperature = 0.6, .seed = 1};
  std::cout << prompt << shira::generate(model, tokenizer, prompt, options).text << "\n\n";
}

int run(const std::string& base, const std::string& prompt,
        const std::vector<std::string>& directories) {
  auto model = shira::load_llama(base);
  const shira::Tokenizer tokenizer(base);
  const auto before = snapshot(model);
  shira::AdapterSwitcher switcher(*model);

  std::cout << "--- base\n";
  print_sample(model, tokenizer, prompt);
  std::vector<shira::WeightPatch> patches;
  for (const std::string& directory : directories) {
    patches.push_back(switcher.resolve({{shira::load_adapter(directory)}}));
    switcher.switch_to(patches.back());
    std::cout << "--- " << directory << "\n";
    print_sample(model, tokenizer, prompt);
  }
  std::size_t next = 0;
  const double time =
      median_microseconds([&] { switcher.switch_to(patches[next++ % patches.size()]); });
  switcher.revert();
  const bool unchanged = is_unchanged(model, before);
  std::cout << "switching " << patches.front().nnz() << " weights: " << time
            << " microseconds (median of 101)\n"
            << "after reverting, every bit of the base is back: " << (unchanged ? "yes" : "NO")
            << "\n";
  return unchanged ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: switch_adapters BASE_DIR PROMPT ADAPTER_DIR...\n";
    return 2;
  }
  try {
    return run(argv[1], argv[2], {argv + 3, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
