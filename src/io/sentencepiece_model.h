// tokenizer.model before it is handed to sentencepiece, which trusts what its own trainer wrote.
#pragma once

#include <shira/base/export.h>

#include <string_view>

namespace shira::detail {

/// IoError (which does not know the file's name) where sentencepiece 0.1.97 would read outside the
/// model, overflow the stack or cut a piece: a character map whose trie or texts end outside of it
/// or whose rules nest too deeply; pieces that nest too deeply, are too long or hold a zero byte.
/// Everything else is left to sentencepiece, which returns errors.
SHIRA_API void check_sentencepiece_model(std::string_view model);

}  // namespace shira::detail
