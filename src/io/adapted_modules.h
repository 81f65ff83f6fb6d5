// An adapter's modules in a base whose names may differ: an adapter made for one component of a
// diffusers pipeline does not have the component's name in front, and transformers 5 dropped the
// "text_model." from the names of CLIPTextModel.
#pragma once

#include <shira/io/parameter_shapes.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shira::detail {

/// A module that an adapter has tensors for, and its weight's shape where the adapter tells.
struct AdaptedModule {
  std::string name;
  std::vector<std::int64_t> shape = {};  // empty: unknown
};

/// The base's name of `component`'s module ("" for a base that is no pipeline), with or without the
/// "text_model." of a text encoder; nullopt where the base has no "<name>.weight".
std::optional<std::string> module_in_base(const std::string& component, const std::string& module,
                                          const ParameterShapes& shapes);

struct BaseModules {
  std::string component;                     // where the modules are; "" for the base's own names
  std::map<std::string, std::string> names;  // the base's name of each of the adapter's modules
};

/// Finds an adapter's modules in the base under their own names or, all of them, in one component
/// of a pipeline. IoError where no component has them all, listing what the closest one lacks, and
/// where several have, unless one of them has the name of the adapter's directory. In a base that
/// is no pipeline they keep their names, looked at or not.
BaseModules find_modules(const std::vector<AdaptedModule>& modules, const ParameterShapes& shapes,
                         const std::filesystem::path& directory);

/// IoError that lists what does not fit the base, unless there is nothing.
void check_fits(const std::vector<std::string>& problems);

}  // namespace shira::detail
