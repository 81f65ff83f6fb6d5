#include "lora_modules.h"

#include "adapted_modules.h"
#include "quote.h"
#include "underscored_names.h"

#include <shira/base/error.h>

#include <optional>

namespace shira::detail {
namespace {

/// The base's names of modules that do not say which component they are of, as
/// UNet2DConditionModel.save_lora_adapter writes them.
BaseModules find_bare_modules(const LoraModules& modules, const ParameterShapes& shapes,
                              const std::filesystem::path& path) {
  std::vector<AdaptedModule> bare;
  for (const auto& [name, module] : modules) {
    if (module.key.component.empty()) bare.push_back({module.key.module});
  }
  return find_modules(bare, shapes, path.parent_path());
}

/// The base's name of every module that it has.
std::map<std::string, std::string> find_in_base(const LoraModules& modules,
                                                const ParameterShapes& shapes,
                                                const std::filesystem::path& path) {
  const BaseModules bare = find_bare_modules(modules, shapes, path);
  UnderscoredNames underscored(shapes);
  std::map<std::string, std::string> names;
  for (const auto& [name, module] : modules) {
    const auto& [component, own_name, is_underscored, role] = module.key;
    std::optional<std::string> found;
    if (component.empty()) {
      found = bare.names.at(own_name);
    } else {
      found = is_underscored ? underscored.find(component, own_name)
                             : module_in_base(component, own_name, shapes);
    }
    if (found && shapes.contains(*found + ".weight")) names.emplace(name, *found);
  }
  return names;
}

/// What the base does not have, or has under two names.
std::vector<std::string> naming_problems(const LoraModules& modules,
                                         const std::map<std::string, std::string>& names) {
  std::vector<std::string> problems;
  std::map<std::string, std::string> takers;  // by the base's name
  for (const auto& [name, module] : modules) {
    const auto found = names.find(name);
    if (found == names.end()) {
      problems.push_back(quote(name) + ": the base has no such layer");
      continue;
    }
    const auto [taker, is_new] = takers.emplace(found->second, name);
    if (is_new) continue;
    problems.push_back(
        concat(quote(name), " and ", quote(taker->second), " are both the base's ", found->second));
  }
  return problems;
}

}  // namespace

LoraModules group_lora_tensors(const SafetensorsFile& file) {
  LoraModules modules;
  for (const std::string& name : file.names()) {
    const LoraModule module{parse_lora_key(name)};
    LoraModule& group = modules.emplace(module.name(), module).first->second;
    const bool is_new = group.tensors.emplace(module.key.role, file.view(name)).second;
    SHIRA_CHECK(IoError, is_new, "tensor ", quote(name), ": there is another one of ",
                quote(module.name()), " for the same purpose.");
  }
  SHIRA_CHECK(IoError, !modules.empty(), "holds no tensors.");
  return modules;
}

std::map<std::string, std::string> find_lora_modules(const LoraModules& modules,
                                                     const ParameterShapes& shapes,
                                                     const std::filesystem::path& path) {
  auto names = find_in_base(modules, shapes, path);
  check_fits(naming_problems(modules, names));
  return names;
}

}  // namespace shira::detail
