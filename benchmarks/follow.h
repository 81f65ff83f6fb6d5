// Rounds on demand: a driver (scripts/run_benchmarks.py) has this program and its Python peer ready
// side by side and lets them do a round each in turn, so that a busy machine slows both.
#pragma once

#include "json.h"

#include <functional>
#include <iostream>
#include <map>
#include <string>

namespace shira::benchmarks {

struct FollowOptions {
  bool follow = false;  // wait for a line on stdin before each round, and end with the input
  int rounds = 5;
};

/// Prints {"facts": ...}, then one line of JSON a round; on stderr a table of all that the rounds
/// have in common: {"group": {"what": milliseconds}}.
inline void run_counted_rounds(const FollowOptions& options, const Json& facts,
                               const std::function<Json()>& round) {
  std::cout << Json{{"facts", facts}}.dump() << std::endl;
  std::map<std::string, Timings> table;
  std::string line;
  for (int i = 0; options.follow ? bool(std::getline(std::cin, line)) : i < options.rounds; ++i) {
    const Json result = round();
    std::cout << result.dump() << std::endl;
    for (const auto& [group, values] : result.items()) {
      if (!values.is_object()) continue;
      for (const auto& [what, value] : values.items()) {
        table[group + " " + what].runs.push_back(value.get<double>());
      }
    }
  }
  std::cerr << machine() << "\n";
  for (const auto& [what, timings] : table) std::cerr << what << ": " << timings.text() << "\n";
}

/// After a round that does not count.
inline void run_rounds(const FollowOptions& options, const Json& facts,
                       const std::function<Json()>& round) {
  round();
  run_counted_rounds(options, facts, round);
}

}  // namespace shira::benchmarks
