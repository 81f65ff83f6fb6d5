// Oniguruma's regular expressions, which tokenizer.json files are written in, as PCRE2's.
#pragma once

#include <string>

namespace shira {

/// What matches the same in PCRE2 (UTF, UCP, MULTILINE) as `pattern` does in Oniguruma's own
/// syntax. IoError names what has no equal there; what neither compiles is left to PCRE2's error.
std::string to_pcre2(const std::string& pattern);

}  // namespace shira
