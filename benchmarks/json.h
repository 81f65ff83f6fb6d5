// The figures of a benchmark as JSON, for scripts/plot_benchmarks.py.
#pragma once

#include "timing.h"

#include <torch/version.h>

#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <stdexcept>
#include <string>

namespace shira::benchmarks {

using Json = nlohmann::ordered_json;

inline Json machine_json() {
  const std::time_t now = std::time(nullptr);
  char date[11];
  std::strftime(date, sizeof date, "%Y-%m-%d", std::gmtime(&now));
  return {{"processor", processor()},
          {"threads", at::get_num_threads()},
          {"load", load()},
          {"date", date},
          {"libtorch", TORCH_VERSION}};
}

/// Four significant digits: more would be noise.
inline double rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return std::strtod(text, nullptr);
}

/// Adds the median, least and most of `timings`, in milliseconds.
inline Json with_timings(Json record, const Timings& timings) {
  record["ms"] = rounded(timings.median());
  record["least"] = rounded(timings.least());
  record["most"] = rounded(timings.most());
  return record;
}

/// {"machine": ..., "results": [...]}, one result a line.
inline void write_results(const std::string& path, const Json& facts, const Json& results) {
  std::ofstream file(path);
  file << "{\"machine\": " << facts.dump() << ",\n\"results\": [";
  for (std::size_t i = 0; i < results.size(); ++i) {
    file << (i == 0 ? "\n" : ",\n") << results[i].dump();
  }
  file << "\n]}\n";
  if (!file.flush()) throw std::runtime_error(path + ": cannot be written");
}

}  // namespace shira::benchmarks
