// Texts to ids, on one thread: for scripts/benchmark_tokenizers.py, which runs the peer beside it.
#include <shira/text/tokenizer.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <chrono>
#include <fstream>
#include <iostream>

namespace {

std::vector<std::string> read_texts(const std::string& path) {
  std::vector<std::string> texts;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    texts.push_back(nlohmann::json::parse(line).get<std::string>());
  }
  return texts;
}

}  // namespace

int main(int count, char** arguments) {
  CLI::App app("A line of {ms, tokens} for each line on stdin: all texts of a file encoded once");
  std::string directory, file;
  app.add_option("--base_model", directory, "Directory with a tokenizer")->required();
  app.add_option("--texts", file, "A JSON string a line")->required();
  CLI11_PARSE(app, count, arguments);
  const shira::Tokenizer tokenizer(directory);
  const std::vector<std::string> texts = read_texts(file);
  for (std::string line; std::getline(std::cin, line);) {
    const auto start = std::chrono::steady_clock::now();
    std::size_t tokens = 0;
    for (const std::string& text : texts) tokens += tokenizer.encode(text).size();
    const std::chrono::duration<double, std::milli> spent =
        std::chrono::steady_clock::now() - start;
    std::cout << nlohmann::json{{"ms", spent.count()}, {"tokens", tokens}} << std::endl;
  }
  return 0;
}
