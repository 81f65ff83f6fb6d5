// The keys of PEFT's rank_pattern and alpha_pattern: Python regular expressions that must match a
// module's whole name, or its end after a dot.
#pragma once

#include <optional>
#include <regex>
#include <string>
#include <string_view>

namespace shira::detail {

class PeftPattern {
 public:
  /// IoError for an expression that is too long or uses what no module name needs ("{", look-ahead,
  /// back-references).
  explicit PeftPattern(std::string_view expression);

  bool matches(std::string_view module) const;

 private:
  std::string expression_;
  std::optional<std::regex> regex_;  // for what is more than characters and dots
};

}  // namespace shira::detail
