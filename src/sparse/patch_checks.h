// What everything that resolves adapters tells its user.
#pragma once

#include <shira/sparse/weight_patch.h>

#include <string>
#include <vector>

namespace shira::detail {

/// Throws Error with `problems`, each on a line of its own after "\n  ", unless there are none.
void check_fit(const std::string& problems);

/// Warns once where the named parameter's base checksums cannot be compared.
void warn_about_narrow_base(const std::string& name, torch::ScalarType base,
                            const std::vector<ScaledAdapter>& adapters);

}  // namespace shira::detail
