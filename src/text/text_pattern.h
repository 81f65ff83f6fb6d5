// {"String": ...} or {"Regex": ...}: what Replace and Split look for.
#pragma once

#include "json_component.h"
#include "unicode_regex.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

class TextPattern {
 public:
  explicit TextPattern(std::string literal) : literal_(std::move(literal)) {}
  explicit TextPattern(const JsonComponent& component);
  static TextPattern regex(const std::string& pattern);

  /// All matches in `text`, which do not overlap; none is empty.
  std::vector<TextRange> matches(std::string_view text) const;

 private:
  TextPattern() = default;

  std::string literal_;
  std::shared_ptr<const UnicodeRegex> regex_;  // null: the literal
};

}  // namespace shira
