// yaml-cpp keeps both entries of a repeated key and says nothing: they are found here.
#include "map_reader.h"

#include <map>

namespace shira::detail {

std::vector<Entry> entries_of(const YAML::Node& map, const Spot& spot) {
  const std::string prefix = spot.key.empty() ? "" : spot.key + ".";
  std::vector<Entry> entries;
  std::map<std::string, int> first_lines;
  for (const auto& item : map) {
    const Place place = spot.place.of(item.first);
    if (!item.first.IsScalar()) {
      spot.problems.add(place, spot.key, "a key must be a text");
      continue;
    }
    const std::string key = item.first.Scalar();
    const auto [first, is_new] = first_lines.try_emplace(key, place.line);
    if (is_new) {
      entries.push_back({key, item.second, place});
    } else {
      const std::string where = place.line > 0 ? concat(", first on line ", first->second) : "";
      spot.problems.add(place, prefix + key, "given twice" + where);
    }
  }
  return entries;
}

}  // namespace shira::detail
