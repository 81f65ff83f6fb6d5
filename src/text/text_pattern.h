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

  /// All matches in `text`, which do not overlap. An empty one does not follow another directly;
  /// in an empty text there is none.
  std::vector<TextRange> matches(std::string_view text) const;
  bool matches_empty() const { return regex_ ? regex_->matches_empty() : literal_.empty(); }
  /// `text` with `content` for every match.
  std::string replace(std::string_view text, const std::string& content) const;

 private:
  TextPattern() = default;
  TextRange find(std::string_view text, std::size_t start) const;

  std::string literal_;
  std::shared_ptr<const UnicodeRegex> regex_;  // null: the literal
};

}  // namespace shira
