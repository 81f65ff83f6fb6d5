// Runs a fuzz target without libFuzzer: seeds, mutated the same way in every run, for a short fuzz
// in ctest under sanitizers. With clang, -DSHIRA_LIBFUZZER -fsanitize=fuzzer takes over instead.
//
//   fuzz_x [COUNT [FIRST]]   runs mutations FIRST, FIRST + 1, ... (default: 20000 from 0)
//   fuzz_x -f FILE           runs one input
#pragma once

#include <shira/io/atomic_file.h>
#include <shira/kernels/philox.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
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

}  // namespace shira

#ifndef SHIRA_LIBFUZZER
int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "-f") {
    shira::run_input(shira::read_file(argv[2]));
    return 0;
  }
  const std::uint64_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 20000;
  const std::uint64_t first = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  const std::vector<std::string> seeds = fuzz_seeds();
  for (std::uint64_t number = first; number < first + count; ++number) {
    shira::run_input(shira::mutation(number, seeds));
  }
  std::printf("%llu inputs\n", static_cast<unsigned long long>(count));
}
#endif
