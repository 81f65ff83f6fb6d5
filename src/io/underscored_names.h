// Modules by the names that kohya's scripts make of them, with "_" for every ".": which "." it was
// only the base's own names tell.
#pragma once

#include <shira/io/parameter_shapes.h>

#include <map>
#include <optional>
#include <set>
#include <string>

namespace shira::detail {

class UnderscoredNames {
 public:
  /// `shapes` of the base, which must outlive this.
  explicit UnderscoredNames(const ParameterShapes& shapes) : shapes_(shapes) {}

  /// The base's name of `component`'s module, of which its own name or, for a UNet, its name in
  /// Stability's code (sgm_names.h) is `name` with underscores; nullopt where there is none.
  /// IoError where there are several.
  std::optional<std::string> find(const std::string& component, const std::string& name);

 private:
  using Modules = std::map<std::string, std::set<std::string>>;  // by underscored name

  Modules modules_of(const std::string& component) const;

  const ParameterShapes& shapes_;
  std::map<std::string, Modules> components_;  // those that were asked for
};

}  // namespace shira::detail
