// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace shira::tools {

/// "58.0 KiB", "1.2 GiB".
std::string bytes_text(double bytes);
/// "0.895 %".
std::string percent_text(std::int64_t part, std::int64_t whole);
/// "35 ms", "1.24 s", "12 min 5 s", "3 h 2 min".
std::string seconds_text(double seconds);
/// "4096 x 11008".
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace shira::tools
