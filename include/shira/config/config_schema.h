// The configuration's keys as a JSON schema, for editors and for the reference page.
#pragma once

#include <shira/base/export.h>

#include <string>

namespace shira {

/// A JSON schema (draft 2020-12) of the files that load_config reads, as indented JSON: types,
/// ranges, choices, defaults and what each key means; the group of a key is its `x-group`. Where
/// the default is nothing, null is allowed. What must hold between keys is not in it: load_config
/// checks that.
SHIRA_API std::string config_json_schema();

}  // namespace shira
