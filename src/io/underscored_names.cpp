#include "underscored_names.h"

#include "quote.h"
#include "sgm_names.h"

#include <shira/base/error.h>

#include <algorithm>
#include <string_view>

namespace shira::detail {
namespace {

std::string underscored(std::string name) {
  std::ranges::replace(name, '.', '_');
  return name;
}

/// The modules of a component that have weights of a linear layer or a convolution.
std::vector<std::string> layers_of(const std::string& component, const ParameterShapes& shapes) {
  constexpr std::string_view kWeight = ".weight";
  const std::string prefix = component + ".";
  std::vector<std::string> layers;
  for (const auto& [name, shape] : shapes) {
    if (!name.starts_with(prefix) || !name.ends_with(kWeight)) continue;
    if (shape.size() != 2 && shape.size() != 4) continue;
    if (name.size() <= prefix.size() + kWeight.size()) continue;
    layers.push_back(name.substr(prefix.size(), name.size() - prefix.size() - kWeight.size()));
  }
  return layers;
}

}  // namespace

UnderscoredNames::Modules UnderscoredNames::modules_of(const std::string& component) const {
  constexpr std::string_view kTextModel = "text_model.";
  const std::vector<std::string> layers = layers_of(component, shapes_);
  Modules modules;
  for (const std::string& layer : layers) {
    const std::string name = component + "." + layer;
    modules[underscored(layer)].insert(name);
    if (component == "unet") continue;
    // The files have "text_model_"; newer versions of CLIPTextModel do not.
    modules[underscored(std::string(kTextModel) + layer)].insert(name);
  }
  if (component != "unet") return modules;
  for (const auto& [layer, sgm] : sgm_names(layers)) {
    modules[underscored(sgm)].insert(component + "." + layer);
  }
  return modules;
}

std::optional<std::string> UnderscoredNames::find(const std::string& component,
                                                  const std::string& name) {
  const auto known = components_.find(component);
  const Modules& modules =
      known != components_.end()
          ? known->second
          : components_.emplace(component, modules_of(component)).first->second;
  const auto found = modules.find(name);
  if (found == modules.end()) return std::nullopt;
  SHIRA_CHECK(IoError, found->second.size() == 1, quote(name), ": may be the base's ",
              *found->second.begin(), " or ", *found->second.rbegin(), ".");
  return *found->second.begin();
}

}  // namespace shira::detail
