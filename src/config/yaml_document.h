// One YAML document from a text, and nothing after it.
#pragma once

#include <yaml-cpp/yaml.h>

#include <string>

namespace shira::detail {

/// The text's one document; null for an empty text. Throws YAML::Exception for bad syntax and for
/// more than one document.
YAML::Node parse_document(const std::string& text);

}  // namespace shira::detail
