// What the readers of PEFT's directories share: adapter_config.json and the names of tensors.
#pragma once

#include "adapted_modules.h"

#include <shira/base/error.h>
#include <shira/io/parameter_shapes.h>
#include <shira/io/safetensors.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace shira::detail {

inline constexpr const char* kPeftConfigName = "adapter_config.json";
inline constexpr const char* kPeftTensorsName = "adapter_model.safetensors";
inline constexpr std::string_view kPeftPrefix = "base_model.model.";

/// adapter_config.json, an object with its keys in the file's order. IoError names the file.
nlohmann::ordered_json read_adapter_config(const std::filesystem::path& directory);

/// Opens adapter_model.safetensors; IoError says what to do about an adapter_model.bin, a pickle.
SafetensorsFile open_adapter_tensors(const std::filesystem::path& directory);

/// null, false, "", [] or {}: what PEFT writes for what is not used.
bool is_unset(const nlohmann::ordered_json& value);

/// The keys outside `known` that are set, as "key = value": what this version cannot honour.
std::vector<std::string> unknown_settings(const nlohmann::ordered_json& config,
                                          const std::set<std::string_view>& known);

/// The list of target_modules; empty for "all-linear" and regular expressions.
std::vector<std::string> target_suffixes(const nlohmann::ordered_json& config);

/// IoError that lists `settings`, unless there are none.
void check_supported(const std::vector<std::string>& settings);

/// The number at `key`; IoError unless it is a whole one from 1 to 2^31 - 1.
std::int64_t positive_count(const nlohmann::ordered_json& config, std::string_view key);

/// The text at `key`; empty when there is none.
std::string text_at(const nlohmann::ordered_json& config, std::string_view key);
bool flag_at(const nlohmann::ordered_json& config, std::string_view key);

/// A module's tensors by their role: what follows "base_model.model.<module>.".
using PeftModules = std::map<std::string, std::map<std::string, TensorView, std::less<>>>;

/// IoError for a tensor with no such role.
PeftModules group_by_module(const SafetensorsFile& file,
                            const std::vector<std::string_view>& roles);

/// IoError for a linear layer of the base (of its component) that target_modules names and that has
/// no tensors: PEFT would leave it as it is, which is probably not what its user trained.
void check_targets(const std::vector<std::string>& suffixes, const BaseModules& base,
                   const ParameterShapes& shapes);

/// The tensor of a role; IoError when the module has none.
const TensorView& tensor_of(const PeftModules::mapped_type& tensors, std::string_view role);

/// Calls `read`; an IoError gets the place (a file, a tensor) in front.
template <typename Read>
auto with_place(const std::string& place, Read read) {
  try {
    return read();
  } catch (const IoError& error) {
    throw IoError(concat(place, ": ", error.what()));
  }
}

}  // namespace shira::detail
