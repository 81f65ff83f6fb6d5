// HuggingFace's tokenizer.json: added tokens, normalizer, pre-tokenizer, model, post-processor and
// decoder, as the `tokenizers` package (0.23) runs them.
#pragma once

#include "tokenizer_backend.h"

#include <nlohmann/json.hpp>

#include <memory>
#include <string>

namespace shira {

/// `root`: a whole tokenizer.json, `name` its file. IoError names the component that is not
/// supported.
std::unique_ptr<TokenizerBackend> make_json_tokenizer(const nlohmann::json& root,
                                                      const std::string& name);

}  // namespace shira
