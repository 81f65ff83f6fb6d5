#include "metaspace.h"

#include "utf8.h"

namespace shira {

MetaspaceSettings read_metaspace(const JsonComponent& component) {
  MetaspaceSettings settings{component.get<std::string>("replacement", "\u2581"),
                             component.get<std::string>("prepend_scheme", "always")};
  const std::string& mark = settings.mark;
  component.require(!mark.empty() && utf8_size(mark, 0) == mark.size(),
                    "replacement: expected one character");
  const std::string& scheme = settings.scheme;
  component.require(scheme == "always" || scheme == "first" || scheme == "never",
                    "prepend_scheme: expected always, first or never");
  if (!component.get("add_prefix_space", true)) {  // files before prepend_scheme
    component.require(component.is_null("prepend_scheme") || scheme == "never",
                      "add_prefix_space does not match prepend_scheme");
    settings.scheme = "never";
  }
  return settings;
}

}  // namespace shira
