#include "text_pattern.h"

#include "utf8.h"

namespace shira {

TextPattern::TextPattern(const JsonComponent& component) {
  if (!component.is_null("String")) {
    literal_ = component.get<std::string>("String");
    return;
  }
  component.require(!component.is_null("Regex"), "expected a String or a Regex");
  try {
    regex_ = std::make_shared<UnicodeRegex>(component.get<std::string>("Regex"));
  } catch (const IoError& error) {
    component.at("Regex").fail(error.what());
  }
}

TextPattern TextPattern::regex(const std::string& pattern) {
  TextPattern result;
  result.regex_ = std::make_shared<UnicodeRegex>(pattern);
  return result;
}

std::vector<TextRange> TextPattern::matches(std::string_view text) const {
  std::vector<TextRange> found;
  std::size_t start = 0;
  while (start < text.size()) {
    TextRange match;
    if (regex_) {
      match = regex_->find(text, start);
    } else {
      match.begin = literal_.empty() ? text.npos : text.find(literal_, start);
      match.end = match.begin + literal_.size();
    }
    if (match.begin == text.npos || match.begin == text.size()) break;
    start = match.end;
    if (match.begin < match.end) {
      found.push_back(match);
    } else {
      start += utf8_size(text, match.end);  // an empty match: the next character
    }
  }
  return found;
}

}  // namespace shira
