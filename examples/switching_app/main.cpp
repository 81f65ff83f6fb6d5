// Serves prompts from standard input with one model in memory. A prompt's prefix names the adapter
// that answers it:
//
//   $ switching_app assets/tiny-llama pirate=outputs/demo/pirate robot=outputs/demo/robot
//   pirate: One day, a
//   robot: One day, a
//   base: One day, a
//
// Text goes to standard output, one line a prompt; what was switched, how fast, and errors go to
// standard error. A line without a prefix is answered by the base. docs/guide_switching.md walks
// through this file.
#include <shira/shira.h>

#include <cctype>
#include <chrono>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

const std::string kBase = "base";

/// What is resident: a patch for each adapter's name; that of the base is empty.
using Patches = std::map<std::string, shira::WeightPatch>;

double milliseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

/// Letters, digits, '_' and '-': what a name may be made of, so that a prefix is told from text.
bool is_name(const std::string& text) {
  for (const unsigned char c : text) {
    if (std::isalnum(c) == 0 && c != '_' && c != '-') return false;
  }
  return !text.empty();
}

struct Request {
  std::string adapter;
  std::string prompt;
};

/// "pirate: One day, a" -> pirate, "One day, a"
Request parse(std::string line) {
  if (!line.empty() && line.back() == '\r') line.pop_back();
  const std::size_t colon = line.find(':');
  if (colon == std::string::npos || !is_name(line.substr(0, colon))) return {kBase, line};
  const std::size_t begin = line.find_first_not_of(' ', colon + 1);
  return {line.substr(0, colon), begin == std::string::npos ? "" : line.substr(begin)};
}

std::string names_of(const Patches& patches) {
  std::string names;
  for (const auto& [name, patch] : patches) names += (names.empty() ? "" : ", ") + name;
  return names;
}

/// Loads "name=directory" and resolves it against the base: from then on, switching to it is
/// nothing but writing its values.
void add_adapter(const shira::AdapterSwitcher& switcher, const std::string& argument,
                 Patches& patches) {
  const std::size_t equals = argument.find('=');
  const std::string name = argument.substr(0, equals);
  if (equals == std::string::npos || !is_name(name)) {
    throw std::invalid_argument("expected NAME=ADAPTER_DIR, got " + argument +
                                "; a name is made of letters, digits, _ and -");
  }
  if (patches.contains(name)) throw std::invalid_argument("two adapters are called " + name);
  const auto begin = std::chrono::steady_clock::now();
  const auto patch = switcher.resolve({{shira::load_adapter(argument.substr(equals + 1))}});
  std::cerr << name << ": " << patch.nnz() << " weights, ready after " << milliseconds_since(begin)
            << " ms\n";
  patches.emplace(name, patch);
}

class Server {
 public:
  Server(const std::string& base, const std::vector<std::string>& adapters)
      : model_(shira::load_llama(base)), tokenizer_(base), switcher_(*model_) {
    patches_.emplace(kBase, shira::WeightPatch());
    for (const std::string& argument : adapters) add_adapter(switcher_, argument, patches_);
  }

  void serve(const Request& request) {
    use(request.adapter);
    const std::string text = generate(request.prompt);
    std::cout << request.prompt << text << std::endl;
  }

 private:
  void use(const std::string& name) {
    const auto patch = patches_.find(name);
    if (patch == patches_.end()) {
      throw std::invalid_argument("no adapter is called " + name +
                                  "; expected one of: " + names_of(patches_));
    }
    if (name == current_) return;
    const auto begin = std::chrono::steady_clock::now();
    switcher_.switch_to(patch->second);
    std::cerr << "[" << current_ << " -> " << name << " in " << milliseconds_since(begin)
              << " ms]\n";
    current_ = name;
  }

  /// In one line. The lease says that nobody may switch before the text is complete; in a server of
  /// several threads it is what keeps a text of one adapter.
  std::string generate(const std::string& prompt) {
    const shira::Lease lease = switcher_.lease();
    return shira::generate(model_, tokenizer_, prompt,
                           {.max_new_tokens = 60, .temperature = 0.6, .seed = 1, .stop = {"\n"}})
        .text;
  }

  shira::Llama model_;
  shira::Tokenizer tokenizer_;
  shira::AdapterSwitcher switcher_;
  Patches patches_;
  std::string current_ = kBase;
};

int run(const std::string& base, const std::vector<std::string>& adapters) {
  Server server(base, adapters);
  std::string line;
  while (std::getline(std::cin, line)) {
    try {
      server.serve(parse(line));
    } catch (const std::exception& error) {  // of this prompt; the next one may be fine
      std::cerr << "error: " << error.what() << std::endl;
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: switching_app BASE_DIR NAME=ADAPTER_DIR... < prompts\n";
    return 2;
  }
  try {
    return run(argv[1], {argv + 2, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
