// Numbers as the YAML 1.2 core schema writes them in decimal, independent of the locale.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shira::detail {

/// `42`, `-3`, `+7`; nothing for other text or a number that int64 cannot hold.
std::optional<std::int64_t> parse_whole(std::string_view text);

/// `5e-4`, `1.0E-3`, `.5`, `3`; nothing for other text, infinities and NaN included, or a number
/// that double cannot hold.
std::optional<double> parse_number(std::string_view text);

/// The shortest text that parse_number reads back to the same bits.
std::string shortest(double value);

}  // namespace shira::detail
