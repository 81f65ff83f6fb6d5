// The table of configuration keys. Parsing, checking, to_yaml and the JSON schema all walk it: a
// new key is a field in run_config.h and a row here. The design's section 8 has the names.
#pragma once

#include <shira/config/run_config.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace shira::detail {

/// The key `bf16`, which has no field: `true` means `base_dtype: bfloat16`.
struct Bf16Alias {};

/// The member that a key fills; the member's type is the key's type.
template <typename Struct>
using Field = std::variant<std::string Struct::*, bool Struct::*, std::int64_t Struct::*,
                           double Struct::*, std::optional<std::int64_t> Struct::*,
                           std::optional<double> Struct::*, std::vector<std::string> Struct::*,
                           std::vector<DatasetConfig> Struct::*, Bf16Alias>;

/// What a value may be, beyond its type.
struct Allowed {
  std::optional<double> above = {}, at_least = {}, below = {}, at_most = {};  // of a number
  bool whole_from_one = false;                 // of a number: a share below 1, else a count
  std::vector<std::string_view> choices = {};  // of a text; of a list: words that stand for one
  std::vector<std::string_view> items = {};    // of a list: what each text may be
  bool or_file = false;                        // of a text: a path beside the choices
};

template <typename Struct>
struct Key {
  std::string_view name;
  Field<Struct> field;
  Allowed allowed = {};
  std::string_view about = {};
  bool required = false;
};

struct KeyGroup {
  std::string_view title;
  std::vector<Key<RunConfig>> keys;
};

/// The keys of a run's configuration, in the order in which they are written.
const std::vector<KeyGroup>& config_key_groups();

/// The same keys in one list.
const std::vector<Key<RunConfig>>& config_keys();

/// The keys of an entry of `datasets`.
const std::vector<Key<DatasetConfig>>& dataset_keys();

}  // namespace shira::detail
