// From a YAML map to a struct, by the struct's key table. Unknown, repeated and missing keys are
// reported with their place.
#pragma once

#include "config_keys.h"
#include "nearest_key.h"
#include "problems.h"
#include "value_reader.h"

#include <shira/base/error.h>

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

namespace shira::detail {

/// One `key: value` of a map.
struct Entry {
  std::string key;
  YAML::Node value;
  Place place;  // of the key
};

/// The entries of a map, each key once; a key that is repeated or not a text is reported.
/// `spot` is the map's own place and name.
std::vector<Entry> entries_of(const YAML::Node& map, const Spot& spot);

template <typename Struct>
const Key<Struct>* find_key(const std::vector<Key<Struct>>& keys, std::string_view name) {
  const auto found = std::ranges::find(keys, name, &Key<Struct>::name);
  return found == keys.end() ? nullptr : &*found;
}

template <typename Struct>
void report_unknown(std::string_view name, const std::vector<Key<Struct>>& keys, const Spot& spot) {
  std::vector<std::string_view> known;
  for (const Key<Struct>& key : keys) known.push_back(key.name);
  const auto nearest = nearest_key(name, known);
  spot.report(nearest ? concat("unknown key, did you mean '", *nearest, "'?") : "unknown key");
}

/// Reads one entry into its field. A null value means that the key was not given.
template <typename Struct>
void read_entry(const Entry& entry, const std::vector<Key<Struct>>& keys, const Spot& spot,
                Struct& out) {
  const Key<Struct>* key = find_key(keys, entry.key);
  if (key == nullptr) return report_unknown(entry.key, keys, spot);
  if (entry.value.IsNull()) return;
  const auto read = [&](auto field) {
    if constexpr (std::is_same_v<decltype(field), Bf16Alias>) {
      bool ignored = false;  // the rules turn the alias into base_dtype
      read_value(entry.value, key->allowed, spot, ignored);
    } else {
      read_value(entry.value, key->allowed, spot, out.*field);
    }
  };
  std::visit(read, key->field);
}

/// Reads a whole map; a missing required key is reported at the map's own place.
template <typename Struct>
void read_map(const YAML::Node& map, const std::vector<Key<Struct>>& keys, const Spot& spot,
              Struct& out) {
  std::vector<std::string> given;
  for (const Entry& entry : entries_of(map, spot)) {
    const Spot item{entry.place, concat(spot.key, ".", entry.key), spot.problems};
    read_entry(entry, keys, item, out);
    if (!entry.value.IsNull()) given.push_back(entry.key);
  }
  for (const Key<Struct>& key : keys) {
    const bool is_missing = key.required && std::ranges::count(given, key.name) == 0;
    if (is_missing)
      spot.problems.add(spot.place, concat(spot.key, ".", key.name), "missing, expected a value");
  }
}

}  // namespace shira::detail
