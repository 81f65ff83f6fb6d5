// The decoder of a tokenizer.json: pieces to text.
#pragma once

#include "json_component.h"

#include <functional>
#include <string>
#include <vector>

namespace shira {

/// Pieces to pieces; the text is what they are joined to.
using TokenDecoder = std::function<std::vector<std::string>(std::vector<std::string>)>;

/// `component`: an object of the "decoder" key. IoError names what is not supported.
TokenDecoder make_token_decoder(const JsonComponent& component);

}  // namespace shira
