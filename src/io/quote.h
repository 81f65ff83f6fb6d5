// Names out of hostile files, made safe to print.
#pragma once

#include <string>
#include <string_view>

namespace shira::detail {

/// "name" in quotes, control characters as \xNN, cut after 200 bytes.
std::string quote(std::string_view name);

}  // namespace shira::detail
