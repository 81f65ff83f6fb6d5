// Expressions come out of hostile files: matching must take neither exponential time nor deep
// recursion.
#include "peft_pattern.h"

#include "quote.h"

#include <shira/base/error.h>

#include <algorithm>

namespace shira::detail {
namespace {

constexpr std::size_t kLongestExpression = 256;
constexpr std::string_view kSpecials = "\\^$*+?|()[]";

bool is_name_character(char c) {
  return c == '_' || c == '-' || c == '.' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
         (c >= 'A' && c <= 'Z');
}

std::regex compile(const std::string& expression) {
  // libstdc++'s own flag: breadth first, in time (length of name) * (length of expression).
  const auto flags = std::regex::ECMAScript | std::regex_constants::__polynomial;
  return std::regex("(.*\\.)?(" + expression + ")", flags);
}

/// A dot matches any character, as in the expressions that PEFT itself writes.
bool ends_with_plain(std::string_view module, std::string_view plain) {
  if (plain.size() > module.size()) return false;
  const std::string_view end = module.substr(module.size() - plain.size());
  const bool is_whole = end.size() == module.size();
  if (!is_whole && module[module.size() - plain.size() - 1] != '.') return false;
  return std::ranges::equal(end, plain, [](char a, char b) { return b == '.' || a == b; });
}

}  // namespace

PeftPattern::PeftPattern(std::string_view expression) : expression_(expression) {
  const bool is_plain = std::ranges::all_of(expression_, is_name_character);
  const bool is_known = std::ranges::all_of(expression_, [](char c) {
    return is_name_character(c) || kSpecials.find(c) != kSpecials.npos;
  });
  SHIRA_CHECK(IoError, is_known && expression_.size() <= kLongestExpression, "the pattern ",
              quote(expression_), " is too long or has characters other than those of names and ",
              kSpecials, ".");
  if (is_plain) return;
  try {
    regex_ = compile(expression_);
  } catch (const std::regex_error&) {
    throw IoError(concat("the pattern ", quote(expression_), " cannot be used."));
  }
}

bool PeftPattern::matches(std::string_view module) const {
  if (!regex_) return ends_with_plain(module, expression_);
  return std::regex_match(module.begin(), module.end(), *regex_);
}

}  // namespace shira::detail
