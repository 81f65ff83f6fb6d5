// The modules that a LoRA file of a diffusion model adapts, and what they are called in a base.
#pragma once

#include "lora_keys.h"

#include <shira/io/parameter_shapes.h>
#include <shira/io/safetensors.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace shira::detail {

/// A module's tensors by their role.
struct LoraModule {
  LoraKey key;
  std::map<LoraRole, TensorView> tensors = {};

  /// "unet.<module>", for people.
  std::string name() const {
    return key.component.empty() ? key.module : key.component + "." + key.module;
  }
};

using LoraModules = std::map<std::string, LoraModule>;  // by name()

/// IoError for a tensor that belongs to no LoRA, or where a module has two for one purpose.
LoraModules group_lora_tensors(const SafetensorsFile& file);

/// The base's name of every module. IoError lists those that the base does not have, or twice.
/// `path` of the file: its directory's name decides where a module may be in several components.
std::map<std::string, std::string> find_lora_modules(const LoraModules& modules,
                                                     const ParameterShapes& shapes,
                                                     const std::filesystem::path& path);

}  // namespace shira::detail
