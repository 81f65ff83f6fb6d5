// What must hold between keys, and the defaults that depend on other keys.
#pragma once

#include "map_reader.h"
#include "problems.h"

#include <shira/config/run_config.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace shira::detail {

/// The entries that count: not null, and the last one of their key.
using GivenKeys = std::map<std::string, Entry, std::less<>>;

/// Why `key` changes nothing in a run of this configuration ("with shira_mask: rand"); empty when
/// it has an effect. `trains_pictures` is is_text_to_image(config), which looks into the file
/// system. Such a key is refused when given, and left out when written.
std::string without_effect(std::string_view key, const RunConfig& config, bool trains_pictures);

/// Reports contradictions, then fills what follows from other keys. `whole_file` is the place of
/// what is missing.
void apply_rules(const GivenKeys& given, const Place& whole_file, Problems& problems,
                 RunConfig& config);

}  // namespace shira::detail
