// What readers of adapters need to know of the base.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace shira {

/// The shapes of a base's parameters by name.
using ParameterShapes = std::map<std::string, std::vector<std::int64_t>>;

}  // namespace shira
