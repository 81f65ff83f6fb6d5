// tokenizer.model before it is handed to sentencepiece, which trusts what its own trainer wrote.
#pragma once

#include <shira/base/export.h>

#include <string_view>

namespace shira::detail {

/// IoError (which does not know the file's name) where sentencepiece 0.1.97 would read outside the
/// model or overflow the stack: a character map whose trie or texts end outside of it or whose
/// rules nest too deeply, pieces that are too long, hold a zero byte or nest too deeply. What this
/// leaves to check is left to sentencepiece.
SHIRA_API void check_sentencepiece_model(std::string_view model);

}  // namespace shira::detail
