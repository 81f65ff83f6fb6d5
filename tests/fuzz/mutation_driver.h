// Runs a fuzz target without libFuzzer: a corpus, mutated the same way in every run, for a short
// fuzz in ctest under sanitizers. In the `fuzz` preset libFuzzer takes over (SHIRA_LIBFUZZER).
//
//   fuzz_x [-runs=COUNT] [-seed=FIRST] [DIRECTORY]...   the seeds and the directories' files, then
//                                                       mutations FIRST, FIRST + 1, ... of them
//   fuzz_x FILE...                                      these inputs only
//   fuzz_x -write_seeds=DIRECTORY                       the seeds as files, for libFuzzer
#pragma once

#include <shira/io/atomic_file.h>
#include <shira/kernels/philox.h>

#include <signal.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

/// Inputs to start from; each target has its own.
std::vector<std::string> fuzz_seeds();

namespace shira {

inline void run_input(const std::string& input) {
  // A copy of exactly this size, so that the address sanitizer sees a read beyond the end.
  const std::vector<std::uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

/// Changes, removes, repeats or inserts bytes at a random place.
inline void mutate(std::string& input, PhiloxStream& random) {
  static const std::string kTokens[] = {"\xff\xff\xff\xff\xff\xff\xff\x7f",
                                        "0",
                                        "-1",
                                        "1e3",
                                        "\"",
                                        "[",
                                        "]",
                                        "{",
                                        "}",
                                        ",",
                                        ":",
                                        "\n",
                                        "- ",
                                        "&a ",
                                        "*a",
                                        "null",
                                        "\\u0000",
                                        "18446744073709551616",
                                        "\"U8\"",
                                        std::string(1, '\0')};
  const std::size_t at = random.bounded(input.size() + 1);
  const std::size_t length = random.bounded(1 + std::min<std::size_t>(input.size() - at, 16));
  switch (random.bounded(6)) {
    case 0: input.resize(at); break;
    case 1: input.erase(at, length); break;
    case 2: input.insert(at, input.substr(at, length)); break;
    case 3: input.insert(at, kTokens[random.bounded(std::size(kTokens))]); break;
    case 4: input.replace(at, length, kTokens[random.bounded(std::size(kTokens))]); break;
    default:
      if (at < input.size()) input[at] ^= static_cast<char>(1 << random.bounded(8));
  }
}

/// Mutation number `number` of a seed; depends on nothing else.
inline std::string mutation(std::uint64_t number, const std::vector<std::string>& seeds) {
  PhiloxStream random(number, "fuzz");
  std::string input = seeds[random.bounded(seeds.size())];
  const std::uint64_t mutations = random.bounded(5);
  for (std::uint64_t i = 0; i < mutations; ++i) mutate(input, random);
  return input;
}

inline void add_files_of(const std::filesystem::path& directory, std::vector<std::string>& inputs) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) files.push_back(entry);
  std::ranges::sort(files);
  for (const auto& file : files) inputs.push_back(read_file(file));
}

inline void write_seeds(const std::filesystem::path& directory) {
  int number = 0;
  for (const std::string& seed : fuzz_seeds()) {
    write_file(directory / ("seed_" + std::to_string(number++)), seed);
  }
}

inline std::uint64_t current_input = 0;  // for the report of a failure

inline void run_mutations(std::uint64_t first, std::uint64_t count,
                          const std::vector<std::string>& seeds) {
  struct sigaction on_abort = {};
  on_abort.sa_handler = [](int) {
    std::fprintf(stderr, "mutation %llu failed: -runs=1 -seed=%llu\n",
                 static_cast<unsigned long long>(current_input),
                 static_cast<unsigned long long>(current_input));
  };
  sigaction(SIGABRT, &on_abort, nullptr);
  for (current_input = first; current_input < first + count; ++current_input) {
    run_input(mutation(current_input, seeds));
  }
}

}  // namespace shira

#ifndef SHIRA_LIBFUZZER
int main(int argc, char** argv) {
  std::uint64_t runs = 20000, first = 0;
  bool has_files = false;
  std::vector<std::string> seeds = fuzz_seeds();
  for (const std::string_view argument : std::vector<std::string_view>(argv + 1, argv + argc)) {
    const std::string value(argument.substr(argument.find('=') + 1));
    if (argument.starts_with("-runs=")) {
      runs = std::stoull(value);
    } else if (argument.starts_with("-seed=")) {
      first = std::stoull(value);
    } else if (argument.starts_with("-write_seeds=")) {
      shira::write_seeds(value);
      return 0;
    } else if (std::filesystem::is_directory(argument)) {
      shira::add_files_of(argument, seeds);
    } else {
      shira::run_input(shira::read_file(argument));
      has_files = true;
    }
  }
  if (has_files) return 0;
  for (const std::string& seed : seeds) shira::run_input(seed);
  shira::run_mutations(first, runs, seeds);
  std::printf("%zu seeds, %llu mutations\n", seeds.size(), static_cast<unsigned long long>(runs));
}
#endif
