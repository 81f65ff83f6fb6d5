// What every benchmark is made of: runs of several things in turn, a figure as median and spread,
// and the machine they were measured on.
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

inline std::string processor() {
  std::string model = "unknown CPU";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) model = line.substr(line.find(':') + 2);
  }
  return model;
}

/// Processes that want to run, averaged over a minute: above the number of threads the figures are
/// worth little.
inline std::string load() {
  std::string average = "unknown";
  std::ifstream("/proc/loadavg") >> average;
  return average;
}

/// "AMD EPYC, 2 threads, load 0.52"
inline std::string machine() {
  return processor() + ", " + std::to_string(at::get_num_threads()) + " threads, load " + load();
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
    return (sorted[(sorted.size() - 1) / 2] + sorted[sorted.size() / 2]) / 2;
  }
  double least() const { return *std::min_element(runs.begin(), runs.end()); }
  double most() const { return *std::max_element(runs.begin(), runs.end()); }

  /// "12.3 ms (11.9..14.0)"; below 10 ms with more digits.
  std::string text() const {
    std::ostringstream out;
    out << std::fixed << std::setprecision(median() < 10 ? 3 : 1) << median() << " ms (" << least()
        << ".." << most() << ")";
    return out.str();
  }
};

/// One of several things that are timed in turn.
struct Contender {
  std::string name;
  std::function<double()> run;  // one run's milliseconds for each operation
};

/// Runs all contenders once untimed and then `rounds` times in turn, so that a busy machine slows
/// all of them. The timings are in the order of the contenders.
inline std::vector<Timings> alternate(const std::vector<Contender>& contenders, int rounds) {
  std::vector<Timings> timings(contenders.size());
  for (int round = -1; round < rounds; ++round) {
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const double run = contenders[i].run();
      if (round >= 0) timings[i].runs.push_back(run);
    }
  }
  return timings;
}

}  // namespace shira::benchmarks
