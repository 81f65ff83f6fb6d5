// Collecting and sorting problems.
#include "problems.h"

#include <shira/base/error.h>

#include <algorithm>
#include <tuple>

namespace shira::detail {
namespace {

// A problem is one line, whatever the user's text holds.
std::string on_one_line(std::string text) {
  const auto is_control = [](char letter) { return letter >= 0 && letter < ' '; };
  std::ranges::replace_if(text, is_control, ' ');
  return text;
}

}  // namespace

std::string Place::text() const { return line > 0 ? concat(source, ":", line) : source; }

Place Place::of(const YAML::Node& node) const {
  const bool has_lines = line > 0 && !node.Mark().is_null();
  return {source, has_lines ? node.Mark().line + 1 : line, order};
}

void Problems::add(const Place& place, std::string_view key, std::string_view what) {
  const std::string_view separator = key.empty() ? "" : ": ";
  const std::string line = concat(place.text(), ": ", key, separator, what);
  problems_.push_back({place.order, place.line, std::string(key), on_one_line(line)});
}

bool Problems::concern(std::initializer_list<std::string_view> keys) const {
  return std::ranges::any_of(
      problems_, [&](const Problem& problem) { return std::ranges::count(keys, problem.key) > 0; });
}

void Problems::throw_if_any() {
  if (problems_.empty()) return;
  std::ranges::stable_sort(problems_, {}, [](const Problem& problem) {
    return std::tuple(problem.order, problem.line);
  });
  std::string all;
  for (const Problem& problem : problems_) {
    all += all.empty() ? "" : "\n";
    all += problem.text;
  }
  throw ConfigError(all);
}

}  // namespace shira::detail
