// A setting that is not known and not empty may change what an adapter means: it is refused, never
// skipped.
#include "peft_config.h"

#include "quote.h"
#include "strict_json.h"

#include <shira/io/atomic_file.h>

namespace shira::detail {
namespace {

using nlohmann::ordered_json;

const ordered_json& value_at(const ordered_json& config, std::string_view key) {
  static const ordered_json none;
  const auto found = config.find(key);
  return found == config.end() ? none : *found;
}

/// "<module>" of "base_model.model.<module>.<role>".
std::string module_of(const std::string& name, std::string_view role) {
  const std::size_t end = name.size() - role.size() - 1;
  return name.substr(kPeftPrefix.size(), end - kPeftPrefix.size());
}

/// The role that ends the tensor's name; IoError when it is none of `roles`.
std::string_view role_of(const std::string& name, const std::vector<std::string_view>& roles) {
  std::string known;
  for (const std::string_view role : roles) {
    const bool has_module = name.size() > kPeftPrefix.size() + role.size() + 1;
    if (has_module && name.starts_with(kPeftPrefix) && name.ends_with(concat(".", role))) {
      return role;
    }
    known += concat(known.empty() ? "" : ", ", kPeftPrefix, "<module>.", role);
  }
  throw IoError(concat("tensor ", quote(name), ": expected only ", known,
                       ". Embeddings, biases and modules_to_save are not supported."));
}

bool is_target(std::string_view module, const std::vector<std::string>& suffixes) {
  return std::ranges::any_of(suffixes, [&](const std::string& suffix) {
    return module == suffix || module.ends_with("." + suffix);
  });
}

/// What a directory without a configuration is instead.
std::string other_directory(const std::filesystem::path& directory) {
  std::string adapters;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    if (!std::filesystem::is_regular_file(entry.path() / kPeftConfigName, ignored)) continue;
    adapters += concat(adapters.empty() ? "" : ", ", quote(entry.path().filename().string()));
  }
  if (adapters.empty()) return "This is no adapter directory; a full checkpoint is a --base_model.";
  return "Its subdirectories are adapters; give each by itself: " + adapters + ".";
}

}  // namespace

ordered_json read_adapter_config(const std::filesystem::path& directory) {
  const auto path = directory / kPeftConfigName;
  SHIRA_CHECK(IoError, std::filesystem::is_regular_file(path), path.string(), ": missing. ",
              other_directory(directory));
  return with_place(path.string(), [&] {
    const std::string text = read_file(path);
    SHIRA_CHECK(IoError, parse_strict_json(text).is_object(), "not a JSON object.");
    return ordered_json::parse(text);
  });
}

SafetensorsFile open_adapter_tensors(const std::filesystem::path& directory) {
  const auto path = directory / kPeftTensorsName, pickle = directory / "adapter_model.bin";
  SHIRA_CHECK(IoError, std::filesystem::exists(path) || !std::filesystem::exists(pickle),
              pickle.string(),
              ": a pickle, which can hold code and is not read. Open the adapter in "
              "PEFT and save it again: save_pretrained() writes ",
              kPeftTensorsName, ".");
  return SafetensorsFile(path);
}

bool is_unset(const ordered_json& value) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.is_null() || (value.is_structured() && value.empty());
}

std::vector<std::string> unknown_settings(const ordered_json& config,
                                          const std::set<std::string_view>& known) {
  std::vector<std::string> settings;
  for (const auto& [key, value] : config.items()) {
    if (known.contains(key) || is_unset(value)) continue;
    settings.push_back(concat(quote(key), ": ", quote(value.dump())));
  }
  return settings;
}

std::vector<std::string> target_suffixes(const ordered_json& config) {
  std::vector<std::string> suffixes;
  if (!config.contains("target_modules") || !config["target_modules"].is_array()) return suffixes;
  for (const ordered_json& suffix : config["target_modules"]) {
    SHIRA_CHECK(IoError, suffix.is_string(), "target_modules has ", quote(suffix.dump()),
                ", expected names.");
    suffixes.push_back(suffix.get<std::string>());
  }
  return suffixes;
}

void check_supported(const std::vector<std::string>& settings) {
  std::string list;
  for (const std::string& setting : settings) list += "\n  " + setting;
  SHIRA_CHECK(IoError, settings.empty(), "settings that are not supported:", list,
              "\nMerge the adapter in PEFT (merge_and_unload) and use the merged checkpoint.");
}

std::int64_t positive_count(const ordered_json& config, std::string_view key) {
  const ordered_json& value = value_at(config, key);
  const bool is_count = value.is_number_integer() && value >= 1 && value <= INT32_MAX;
  SHIRA_CHECK(IoError, is_count, key, " is ", quote(value.dump()),
              ", expected a whole number from 1 on.");
  return value.get<std::int64_t>();
}

std::string text_at(const ordered_json& config, std::string_view key) {
  const ordered_json& value = value_at(config, key);
  if (value.is_null()) return "";
  SHIRA_CHECK(IoError, value.is_string(), key, " is ", quote(value.dump()), ", expected a text.");
  return value.get<std::string>();
}

bool flag_at(const ordered_json& config, std::string_view key) {
  const ordered_json& value = value_at(config, key);
  if (value.is_null()) return false;
  SHIRA_CHECK(IoError, value.is_boolean(), key, " is ", quote(value.dump()),
              ", expected true or false.");
  return value.get<bool>();
}

PeftModules group_by_module(const SafetensorsFile& file,
                            const std::vector<std::string_view>& roles) {
  PeftModules modules;
  for (const std::string& name : file.names()) {
    const std::string_view role = role_of(name, roles);
    modules[module_of(name, role)].emplace(role, file.view(name));
  }
  SHIRA_CHECK(IoError, !modules.empty(), "holds no tensors.");
  return modules;
}

void check_targets(const std::vector<std::string>& suffixes, const BaseModules& base,
                   const ParameterShapes& shapes) {
  constexpr std::string_view kWeight = ".weight";
  const std::string prefix = base.component.empty() ? "" : base.component + ".";
  std::set<std::string_view> adapted;
  for (const auto& [module, name] : base.names) adapted.insert(name);
  for (const auto& [name, shape] : shapes) {
    if (!name.starts_with(prefix) || !name.ends_with(kWeight) || shape.size() != 2) continue;
    const std::string module = name.substr(0, name.size() - kWeight.size());
    SHIRA_CHECK(IoError,
                adapted.contains(module) || !is_target(module.substr(prefix.size()), suffixes),
                "has no tensors for ", quote(module),
                ", which target_modules names: is the file complete, and the base the right one?");
  }
}

const TensorView& tensor_of(const PeftModules::mapped_type& tensors, std::string_view role) {
  const auto found = tensors.find(role);
  SHIRA_CHECK(IoError, found != tensors.end(), "its tensor .", role, " is missing.");
  return found->second;
}

}  // namespace shira::detail
