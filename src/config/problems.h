// What is wrong with a configuration, collected so that the user sees all of it at once.
#pragma once

#include <yaml-cpp/yaml.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace shira::detail {

/// Where a value was given: a line of a file, an override, or (line 0) a file as a whole.
struct Place {
  std::string source;  // "my.yaml" or "--set seed=1"
  int line = 0;        // counted from 1; 0 = none
  int order = 0;       // of the source in the report: 0 = the file, then the overrides

  /// "my.yaml:12", "--set seed=1".
  std::string text() const;

  /// The place of a part of the document: its own line of the same source.
  Place of(const YAML::Node& node) const;
};

/// A growing list of problems.
class Problems {
 public:
  /// Adds "<place>: <key>: <what>"; the key may be empty.
  void add(const Place& place, std::string_view key, std::string_view what);

  /// Whether one of the keys has a problem: its field then holds a default that nobody chose.
  bool concern(std::initializer_list<std::string_view> keys) const;

  /// Throws one ConfigError with a line a problem, in the order of sources and lines.
  void throw_if_any();

 private:
  struct Problem {
    int order;
    int line;
    std::string key;
    std::string text;
  };
  std::vector<Problem> problems_;
};

/// A value's place and name, and where to report what is wrong with it.
struct Spot {
  Place place;
  std::string key;
  Problems& problems;

  void report(std::string_view what) const { problems.add(place, key, what); }
};

}  // namespace shira::detail
