#include "adapted_modules.h"

#include "quote.h"

#include <shira/base/error.h>

#include <set>

namespace shira::detail {
namespace {

constexpr std::string_view kTextModel = "text_model.";

/// The name with or without "text_model." in front, whichever it is not.
std::string other_text_name(const std::string& module) {
  if (module.starts_with(kTextModel)) return module.substr(kTextModel.size());
  return std::string(kTextModel) + module;
}

bool fits(const AdaptedModule& module, const std::string& name, const ParameterShapes& shapes) {
  return module.shape.empty() || shapes.at(name + ".weight") == module.shape;
}

/// Nothing unless `component` has all modules, in the shapes that are known.
std::optional<BaseModules> modules_of(const std::string& component,
                                      const std::vector<AdaptedModule>& modules,
                                      const ParameterShapes& shapes) {
  BaseModules found{component, {}};
  for (const AdaptedModule& module : modules) {
    const auto name = module_in_base(component, module.name, shapes);
    if (!name || (!component.empty() && !fits(module, *name, shapes))) return std::nullopt;
    found.names.emplace(module.name, *name);
  }
  return found;
}

std::string names_of(const std::vector<BaseModules>& found) {
  std::string names;
  for (const BaseModules& modules : found) {
    names += (names.empty() ? "" : " and ") + quote(modules.component);
  }
  return names;
}

/// Of several components that fit, the one that the directory is named after.
BaseModules choose(std::vector<BaseModules> found, const std::filesystem::path& directory) {
  const auto path = directory.has_filename() ? directory : directory.parent_path();
  for (BaseModules& modules : found) {
    if (found.size() == 1 || modules.component == path.filename()) return std::move(modules);
  }
  throw IoError(concat("the base has all its layers in ", names_of(found),
                       ". Give the directory the name of the component that it was made for."));
}

}  // namespace

std::optional<std::string> module_in_base(const std::string& component, const std::string& module,
                                          const ParameterShapes& shapes) {
  const std::string prefix = component.empty() ? "" : component + ".";
  const auto in_base = [&](const std::string& name) { return shapes.contains(name + ".weight"); };
  if (in_base(prefix + module)) return prefix + module;
  const std::string other = prefix + other_text_name(module);
  const bool is_text = component.starts_with("text_encoder");
  return is_text && in_base(other) ? std::optional(other) : std::nullopt;
}

BaseModules find_modules(const std::vector<AdaptedModule>& modules, const ParameterShapes& shapes,
                         const std::filesystem::path& directory) {
  if (auto as_they_are = modules_of("", modules, shapes)) return *as_they_are;
  std::set<std::string> components;
  for (const auto& [name, shape] : shapes) components.insert(pipeline_component(name));
  components.erase("");
  std::vector<BaseModules> found;
  for (const std::string& component : components) {
    if (auto fitting = modules_of(component, modules, shapes)) found.push_back(*fitting);
  }
  if (!found.empty()) return choose(std::move(found), directory);
  BaseModules unknown;
  for (const AdaptedModule& module : modules) unknown.names.emplace(module.name, module.name);
  return unknown;
}

}  // namespace shira::detail
