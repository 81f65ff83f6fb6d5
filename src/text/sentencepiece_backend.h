// tokenizer.model files, by sentencepiece's own library.
#pragma once

#include "tokenizer_backend.h"

#include <filesystem>
#include <memory>

namespace shira {

/// IoError if the file is no sentencepiece model.
std::unique_ptr<TokenizerBackend> load_sentencepiece(const std::filesystem::path& file);

}  // namespace shira
