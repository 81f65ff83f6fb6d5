// Names are taken apart by lora_keys.h and looked up in the base; nothing is left out in silence.
#include "adapted_modules.h"
#include "float_values.h"
#include "lora_config.h"
#include "lora_modules.h"
#include "peft_config.h"
#include "quote.h"
#include "strict_json.h"

#include <shira/io/diffusers_lora_file.h>

#include <algorithm>
#include <optional>

namespace shira {
namespace {

using nlohmann::ordered_json;
using Shape = std::vector<std::int64_t>;

constexpr const char* kMetadataName = "lora_adapter_metadata";

using LoraConfigs = std::map<std::string, detail::LoraConfig>;  // by component

// --- Settings -----------------------------------------------------------------------------------

/// The settings of one component, whose keys begin with its name.
ordered_json settings_of(const ordered_json& metadata, const std::string& component) {
  ordered_json settings = ordered_json::object();
  for (const auto& [key, value] : metadata.items()) {
    if (pipeline_component(key) != component) continue;
    settings[component.empty() ? key : key.substr(component.size() + 1)] = value;
  }
  return settings;
}

/// The header's settings of those components that have some.
LoraConfigs read_lora_settings(const SafetensorsFile& file, const detail::LoraModules& modules) {
  const auto found = file.metadata().find(kMetadataName);
  if (found == file.metadata().end()) return {};
  return detail::with_place(kMetadataName, [&] {
    SHIRA_CHECK(IoError, detail::parse_strict_json(found->second).is_object(),
                "not a JSON object.");
    const ordered_json metadata = ordered_json::parse(found->second);
    LoraConfigs configs;
    for (const auto& [name, module] : modules) {
      const std::string& component = module.key.component;
      const ordered_json settings = settings_of(metadata, component);
      if (settings.empty() || configs.contains(component)) continue;
      configs.emplace(component, detail::parse_lora_config(settings));
    }
    return configs;
  });
}

// --- Tensors ------------------------------------------------------------------------------------

double alpha_value(const TensorView& view) {
  const bool is_whole = view.dtype == DType::kI64 || view.dtype == DType::kI32;
  SHIRA_CHECK(IoError, view.byte_size == item_size(view.dtype), "its alpha is not one number.");
  const double alpha = is_whole ? static_cast<double>(detail::whole_numbers(view).front())
                                : detail::finite_values(view).front();
  SHIRA_CHECK(IoError, alpha > 0, "its alpha is ", alpha, ", expected a number above 0.");
  return alpha;
}

/// Whether a factor is that of a 1x1 convolution, (m, n, 1, 1), which is also a matrix.
bool is_pointwise(const Shape& shape) {
  return shape.size() == 4 && shape[2] == 1 && shape[3] == 1;
}

/// A factor as its weight has it: (m, n), or (m, n, 1, 1) for a convolution. Others are left to
/// the checks.
void take_form(TensorView& factor, bool is_convolution) {
  Shape& shape = factor.shape;
  if (is_convolution && shape.size() == 2) shape.insert(shape.end(), {1, 1});
  if (!is_convolution && is_pointwise(shape)) shape.resize(2);
}

/// kohya's (out, 1) or (out, 1, 1, 1) as PEFT has it; LyCORIS can also have magnitudes of the
/// columns.
TensorView magnitude_of(TensorView scale, std::int64_t out, bool is_convolution) {
  Shape flat = scale.shape;
  while (flat.size() > 1 && flat.back() == 1) flat.pop_back();
  SHIRA_CHECK(IoError, flat == Shape{out}, "its dora_scale does not hold ", out,
              " magnitudes, one for each of the outputs.");
  scale.shape = is_convolution ? Shape{1, out, 1, 1} : Shape{out};
  return scale;
}

std::optional<TensorView> find_role(const detail::LoraModule& module, detail::LoraRole role) {
  const auto found = module.tensors.find(role);
  return found == module.tensors.end() ? std::nullopt : std::optional(found->second);
}

TensorView factor_of(const detail::LoraModule& module, detail::LoraRole role, const char* what) {
  const auto found = find_role(module, role);
  SHIRA_CHECK(IoError, found.has_value(), "its ", what, " is missing.");
  return *found;
}

/// Of the base's shape where it is known.
PeftLoraTensor read_factors(const detail::LoraModule& module, const Shape* shape) {
  PeftLoraTensor tensor{module.name() + ".weight",
                        factor_of(module, detail::LoraRole::kDown, "lora_A (down)"),
                        factor_of(module, detail::LoraRole::kUp, "lora_B (up)"), std::nullopt};
  const bool is_convolution = shape != nullptr ? shape->size() == 4 : tensor.a.shape.size() == 4;
  take_form(tensor.a, is_convolution);
  take_form(tensor.b, is_convolution);
  detail::check_lora_factors(tensor);
  tensor.magnitude = find_role(module, detail::LoraRole::kMagnitude);
  if (const auto scale = find_role(module, detail::LoraRole::kDoraScale)) {
    SHIRA_CHECK(IoError, !tensor.magnitude, "it has two magnitudes.");
    tensor.magnitude = magnitude_of(*scale, tensor.b.shape[0], is_convolution);
  }
  return tensor;
}

PeftLoraTensor read_lora_module(const detail::LoraModule& module, const LoraConfigs& configs,
                                const Shape* shape) {
  PeftLoraTensor tensor = read_factors(module, shape);
  const auto alpha = find_role(module, detail::LoraRole::kAlpha);
  const auto config = configs.find(module.key.component);
  if (config == configs.end()) {
    const auto rank = static_cast<double>(tensor.a.shape[0]);
    tensor.scaling = alpha ? alpha_value(*alpha) / rank : 1.0;
    detail::check_lora_magnitude(tensor, tensor.magnitude.has_value());
    return tensor;
  }
  SHIRA_CHECK(IoError, !alpha, "it has an alpha, but so has ", kMetadataName, ".");
  detail::check_lora_rank(tensor, config->second.rank_of(module.key.module));
  detail::check_lora_magnitude(tensor, config->second.use_dora);
  tensor.scaling = config->second.scaling_of(module.key.module);
  return tensor;
}

// --- Both together ------------------------------------------------------------------------------

std::vector<PeftLoraTensor> read_lora_modules(const detail::LoraModules& modules,
                                              const LoraConfigs& configs) {
  std::vector<PeftLoraTensor> tensors;
  for (const auto& [name, module] : modules) {
    detail::with_place(detail::quote(name),
                       [&] { tensors.push_back(read_lora_module(module, configs, nullptr)); });
  }
  return tensors;
}

/// The same with the base's names and shapes.
std::vector<PeftLoraTensor> read_lora_modules(const detail::LoraModules& modules,
                                              const LoraConfigs& configs,
                                              const ParameterShapes& shapes,
                                              const std::map<std::string, std::string>& names) {
  std::vector<PeftLoraTensor> tensors;
  std::vector<std::string> problems;
  for (const auto& [name, module] : modules) {
    const std::string parameter = names.at(name) + ".weight";
    const Shape& shape = shapes.at(parameter);
    detail::with_place(detail::quote(name),
                       [&] { tensors.push_back(read_lora_module(module, configs, &shape)); });
    tensors.back().name = parameter;
    const Shape own_shape = detail::lora_weight_shape(tensors.back());
    if (own_shape == shape) continue;
    problems.push_back(detail::concat(detail::quote(name), ": is for a weight of ",
                                      ordered_json(own_shape).dump(), ", the base's is ",
                                      ordered_json(shape).dump()));
  }
  detail::check_fits(problems);
  return tensors;
}

void check_all_targets(const detail::LoraModules& modules, const LoraConfigs& configs,
                       const ParameterShapes& shapes,
                       const std::map<std::string, std::string>& names) {
  for (const auto& [component, config] : configs) {
    if (component.empty()) continue;
    detail::BaseModules base{component, {}};
    for (const auto& [name, module] : modules) {
      if (module.key.component == component) base.names.emplace(name, names.at(name));
    }
    detail::check_targets(config.target_suffixes, base, shapes);
  }
}

PeftLoraFile read_lora_file(const SafetensorsFile& file, const ParameterShapes* shapes) {
  const detail::LoraModules modules = detail::group_lora_tensors(file);
  const LoraConfigs configs = read_lora_settings(file, modules);
  PeftLoraFile adapter;
  for (const auto& [component, config] : configs) {
    adapter.use_rslora = config.use_rslora;
    if (adapter.base_model.empty()) adapter.base_model = config.base_model;
  }
  if (shapes == nullptr) {
    adapter.tensors = read_lora_modules(modules, configs);
    return adapter;
  }
  const auto names = detail::find_lora_modules(modules, *shapes, file.path());
  adapter.tensors = read_lora_modules(modules, configs, *shapes, names);
  check_all_targets(modules, configs, *shapes, names);
  return adapter;
}

// --- Writing ------------------------------------------------------------------------------------

/// A module's name in its component. transformers 5 has dropped "text_model." from CLIPTextModel;
/// PEFT finds the rest in either.
std::string name_in_component(const std::string& module, const std::string& component) {
  constexpr std::string_view kTextModel = "text_model.";
  std::string name = module.substr(component.size() + 1);
  if (name.starts_with(kTextModel)) name.erase(0, kTextModel.size());
  return name;
}

/// The settings of one component's tensors, each key with the component's name in front.
void add_settings(const std::string& component, const PeftLoraFile& file, ordered_json& metadata) {
  PeftLoraFile part{file.base_model, {}, file.use_rslora, file.dropout};
  for (const PeftLoraTensor& tensor : file.tensors) {
    if (pipeline_component(tensor.name) != component) continue;
    part.tensors.push_back(tensor);
    part.tensors.back().name = name_in_component(tensor.name, component);
    SHIRA_CHECK(IoError, tensor.magnitude.has_value() == part.tensors.front().magnitude.has_value(),
                tensor.name, ": LoRA and DoRA tensors cannot be in one component's adapter.");
  }
  const bool is_text = component.starts_with("text_encoder");
  const auto pattern_of = [&](const std::string& module) {
    return is_text ? module : "^" + module;
  };
  const ordered_json settings = detail::lora_config_json(part, "", pattern_of);
  for (const auto& [key, value] : settings.items()) metadata[component + "." + key] = value;
}

ordered_json lora_metadata(const PeftLoraFile& file) {
  std::set<std::string> components;
  for (const auto& tensor : file.tensors) {
    components.insert(pipeline_component(tensor.name));
  }
  ordered_json metadata = ordered_json::object();
  for (const std::string& component : components) add_settings(component, file, metadata);
  return metadata;
}

std::filesystem::path weights_path(const std::filesystem::path& path) {
  return std::filesystem::is_directory(path) ? path / kDiffusersLoraName : path;
}

}  // namespace

PeftLoraFile read_diffusers_lora_file(const std::filesystem::path& path,
                                      const ParameterShapes* shapes) {
  const SafetensorsFile file(weights_path(path));
  return detail::with_place(file.path().string(), [&] { return read_lora_file(file, shapes); });
}

bool is_pipeline_lora(const PeftLoraFile& file) {
  return !file.tensors.empty() &&
         std::ranges::none_of(file.tensors, [](const PeftLoraTensor& tensor) {
           const std::string component = pipeline_component(tensor.name);
           return component.empty() || component == "vae";  // which diffusers would not load
         });
}

void write_diffusers_lora_file(const std::filesystem::path& directory, const PeftLoraFile& file) {
  const std::string settings = lora_metadata(file).dump(2);
  std::vector<TensorBytes> bytes;
  for (const PeftLoraTensor& tensor : file.tensors) {
    const std::string module = detail::lora_module(tensor);
    const auto add = [&](const char* role, const TensorView& view) {
      bytes.push_back({module + role, view.dtype, view.shape, view.data});
    };
    add(".lora_A.weight", tensor.a);
    add(".lora_B.weight", tensor.b);
    if (tensor.magnitude) add(".lora_magnitude_vector", *tensor.magnitude);
  }
  write_safetensors(directory / kDiffusersLoraName, bytes,
                    {{"format", "pt"}, {kMetadataName, settings}});
}

}  // namespace shira
