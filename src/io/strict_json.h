// JSON from outside: nlohmann_json without its leniency about duplicate keys and deep nesting.
#pragma once

#include <nlohmann/json.hpp>

#include <string_view>

namespace shira::detail {

/// Parses a whole JSON text. IoError (which does not know the file's name) on a syntax error, a key
/// that occurs twice in one object, or more than `max_depth` objects and arrays inside each other.
nlohmann::json parse_strict_json(std::string_view text, std::size_t max_depth = 32);

}  // namespace shira::detail
