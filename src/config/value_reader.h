// From a YAML node to a value of a field's type, checked against the key's table row.
#pragma once

#include "config_keys.h"
#include "problems.h"

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shira::detail {

// Each returns whether `out` was set; if not, "got X, expected Y" has been reported at `spot`.
bool read_value(const YAML::Node& node, const Allowed& allowed, const Spot& spot, std::string& out);
bool read_value(const YAML::Node& node, const Allowed& allowed, const Spot& spot, bool& out);
bool read_value(const YAML::Node& node, const Allowed& allowed, const Spot& spot,
                std::int64_t& out);
bool read_value(const YAML::Node& node, const Allowed& allowed, const Spot& spot, double& out);
bool read_value(const YAML::Node& node, const Allowed& allowed, const Spot& spot,
                std::vector<std::string>& out);
bool read_value(const YAML::Node& node, const Allowed& allowed, const Spot& spot,
                std::vector<DatasetConfig>& out);

template <typename Value>
bool read_value(const YAML::Node& node, const Allowed& allowed, const Spot& spot,
                std::optional<Value>& out) {
  Value value{};
  if (!read_value(node, allowed, spot, value)) return false;
  out = value;
  return true;
}

}  // namespace shira::detail
