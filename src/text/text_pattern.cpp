#include "text_pattern.h"

#include "utf8.h"

namespace shira {

TextPattern::TextPattern(const JsonComponent& component) {
  component.require(component.json().is_object() && component.json().size() == 1,
                    "expected a String or a Regex");
  if (!component.is_null("String")) {
    literal_ = component.get<std::string>("String");
    return;
  }
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

TextRange TextPattern::find(std::string_view text, std::size_t start) const {
  if (regex_) return regex_->find(text, start);
  const std::size_t begin = text.find(literal_, start);
  return begin == text.npos ? TextRange{begin, begin} : TextRange{begin, begin + literal_.size()};
}

/// As the find_iter of the onig crate.
std::vector<TextRange> TextPattern::matches(std::string_view text) const {
  std::vector<TextRange> found;
  std::size_t start = 0;
  while (!text.empty() && start <= text.size()) {
    const TextRange match = find(text, start);
    if (match.begin == text.npos) break;
    start = match.end;
    const bool is_empty = match.begin == match.end;
    if (is_empty && !found.empty() && found.back().end == match.end) {
      start += start < text.size() ? utf8_size(text, start) : 1;
    } else {
      found.push_back(match);
    }
  }
  return found;
}

std::string TextPattern::replace(std::string_view text, const std::string& content) const {
  std::string result;
  std::size_t copied = 0;
  for (const TextRange match : matches(text)) {
    result.append(text, copied, match.begin - copied).append(content);
    copied = match.end;
  }
  return result.append(text, copied);
}

}  // namespace shira
