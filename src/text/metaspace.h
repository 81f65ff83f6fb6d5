// The settings of Metaspace, which is a pre-tokenizer and a decoder.
#pragma once

#include "json_component.h"

#include <string>

namespace shira {

struct MetaspaceSettings {
  std::string mark;    // one character: stands for a space
  std::string scheme;  // which words get one: always, first (at the start of the text) or never
};

/// IoError where the package refuses them, too.
MetaspaceSettings read_metaspace(const JsonComponent& component);

}  // namespace shira
