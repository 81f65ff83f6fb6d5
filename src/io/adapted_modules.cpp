#include "adapted_modules.h"

#include "quote.h"

#include <shira/base/error.h>

#include <algorithm>
#include <set>
#include <utility>

namespace shira::detail {
namespace {

constexpr std::string_view kTextModel = "text_model.";

/// The name with or without "text_model." in front, whichever it is not.
std::string other_text_name(const std::string& module) {
  if (module.starts_with(kTextModel)) return module.substr(kTextModel.size());
  return std::string(kTextModel) + module;
}

/// The modules as one component has them, and what it does not have or has in another shape.
struct Fit {
  BaseModules base;
  std::vector<std::string> problems;
};

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "(" + text + ")";
}

Fit fit_of(const std::string& component, const std::vector<AdaptedModule>& modules,
           const ParameterShapes& shapes) {
  Fit fit{{component, {}}, {}};
  for (const AdaptedModule& module : modules) {
    const auto name = module_in_base(component, module.name, shapes);
    fit.base.names.emplace(module.name, name.value_or(module.name));
    if (!name) {
      fit.problems.push_back(quote(module.name) + ": the base has no such layer");
      continue;
    }
    const auto& shape = shapes.at(*name + ".weight");
    if (component.empty() || module.shape.empty() || module.shape == shape) continue;
    fit.problems.push_back(concat(quote(module.name), ": is for a weight of ",
                                  shape_text(module.shape), ", the base's is ", shape_text(shape)));
  }
  return fit;
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

void check_fits(const std::vector<std::string>& problems) {
  std::string list;
  for (std::size_t i = 0; i < std::min<std::size_t>(problems.size(), 10); ++i) {
    list += "\n  " + problems[i];
  }
  if (problems.size() > 10) list += concat("\n  and ", problems.size() - 10, " more");
  SHIRA_CHECK(IoError, problems.empty(), "does not fit the base:", list,
              "\nGive the base that the adapter was trained on.");
}

BaseModules find_modules(const std::vector<AdaptedModule>& modules, const ParameterShapes& shapes,
                         const std::filesystem::path& directory) {
  Fit closest = fit_of("", modules, shapes);
  if (closest.problems.empty()) return closest.base;
  std::set<std::string> components;
  for (const auto& [name, shape] : shapes) components.insert(pipeline_component(name));
  components.erase("");
  if (components.empty()) return closest.base;  // no pipeline: whoever looks a name up says so
  std::vector<BaseModules> found;
  for (const std::string& component : components) {
    Fit fit = fit_of(component, modules, shapes);
    if (fit.problems.empty()) found.push_back(fit.base);
    if (fit.problems.size() < closest.problems.size()) closest = std::move(fit);
  }
  check_fits(closest.problems);
  return choose(std::move(found), directory);
}

}  // namespace shira::detail
