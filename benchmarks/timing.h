// What every benchmark prints: the machine, and a figure as median and spread of alternating runs.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace shira::benchmarks {

/// "model name: AMD EPYC, 2 threads, load 0.52"
inline std::string machine() {
  std::string model = "unknown CPU";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) model = line.substr(line.find(':') + 2);
  }
  std::string load = "unknown";
  std::ifstream("/proc/loadavg") >> load;
  return model + ", " + std::to_string(at::get_num_threads()) + " threads, load " + load;
}

inline double milliseconds(const std::function<void()>& action) {
  const auto start = std::chrono::steady_clock::now();
  action();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

/// Runs of one thing, in milliseconds.
struct Timings {
  std::vector<double> runs;

  double median() const {
    std::vector<double> sorted = runs;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }

  /// "12.3 ms (11.9..14.0)"
  std::string text() const {
    const auto [least, most] = std::minmax_element(runs.begin(), runs.end());
    std::ostringstream out;
    out << std::fixed << std::setprecision(1) << median() << " ms (" << *least << ".." << *most
        << ")";
    return out.str();
  }
};

}  // namespace shira::benchmarks
