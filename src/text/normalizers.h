// The normalizer of a tokenizer.json: text before anything else happens to it.
#pragma once

#include "aligned_text.h"
#include "json_component.h"

#include <functional>

namespace shira {

using Normalizer = std::function<AlignedText(AlignedText)>;

/// `component`: an object of the "normalizer" key. IoError names what is not supported.
Normalizer make_normalizer(const JsonComponent& component);

}  // namespace shira
