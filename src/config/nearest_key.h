// Which known key a mistyped or foreign one was meant to be.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace shira::detail {

/// The known key nearest to `unknown`: what other tools call it, a key that contains it or is
/// contained in it, or the one with the fewest typing errors. Nothing when none is near.
std::optional<std::string_view> nearest_key(std::string_view unknown,
                                            const std::vector<std::string_view>& known);

}  // namespace shira::detail
