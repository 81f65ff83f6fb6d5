// Regular expressions over UTF-8 as tokenizer.json files write them (Oniguruma's syntax, as far as
// they use it), by PCRE2.
#pragma once

#include "aligned_text.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace shira {

class UnicodeRegex {
 public:
  /// IoError for a pattern that does not compile or that means something else in PCRE2.
  explicit UnicodeRegex(const std::string& pattern);
  ~UnicodeRegex();
  UnicodeRegex(UnicodeRegex&&) noexcept;

  /// The first match in `text` from byte `start` on; what precedes is seen by look-behinds. An
  /// empty range at npos where there is none.
  TextRange find(std::string_view text, std::size_t start) const;
  /// Whether a match may be empty.
  bool matches_empty() const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace shira
