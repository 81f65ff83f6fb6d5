// The tokenizer of the embedded base, for tests that need a real one.
#pragma once

#include <shira/text/tokenizer.h>

#include <cstdlib>
#include <filesystem>

namespace shira {

inline std::filesystem::path asset_directory() {
  const char* source = std::getenv("SHIRA_SOURCE_DIR");
  return std::filesystem::path(source != nullptr ? source : ".") / "assets/tiny-llama";
}

inline Tokenizer asset_tokenizer() { return Tokenizer(asset_directory()); }

}  // namespace shira
