// The only file that knows PCRE2. Its classes are Unicode's (PCRE2_UCP); where it and Oniguruma
// differ, the pattern is rewritten: \s is Unicode's White_Space, \w what UTS 18 says.
#include "unicode_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <shira/base/error.h>

#include <pcre2.h>

#include <array>
#include <cctype>

namespace shira {
namespace {

constexpr std::string_view kSpaces = R"(\x09-\x0D\x85\p{Z})";
constexpr std::string_view kWordCharacters = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
constexpr std::string_view kDigits = R"(\p{Nd})";

/// `class_members` for an escape that stands for a class; empty for others.
std::string_view class_members(char escape) {
  switch (escape) {
    case 's':
    case 'S': return kSpaces;
    case 'w':
    case 'W': return kWordCharacters;
    case 'd':
    case 'D': return kDigits;
    default: return {};
  }
}

/// What Oniguruma alone has at `i`, outside of escapes.
void refuse_foreign(const std::string& pattern, std::size_t i, bool in_class) {
  const auto at = [&](std::string_view text) { return pattern.compare(i, text.size(), text) == 0; };
  if (in_class) {
    SHIRA_CHECK(IoError, !at("&&"), "intersections of classes (&&) are not supported");
    SHIRA_CHECK(IoError, !at("[") || at("[:"), "classes within classes are not supported");
    return;
  }
  const char option = at("(?") && i + 2 < pattern.size() ? pattern[i + 2] : '\0';
  SHIRA_CHECK(IoError,
              std::isalpha(static_cast<unsigned char>(option)) == 0 || at("(?i:") || at("(?i)"),
              "of the options (?...) only i is supported");
}

std::string translate_escape(char escape, bool in_class) {
  constexpr std::string_view kCommon = "pPrntvfabBAzZGxe";
  const bool is_upper = escape >= 'A' && escape <= 'Z';
  const std::string same = {'\\', escape};
  const std::string_view members = class_members(escape);
  if (members.empty()) {
    const bool is_letter = is_upper || (escape >= 'a' && escape <= 'z');
    SHIRA_CHECK(IoError, !is_letter || kCommon.find(escape) != kCommon.npos, same,
                " is not supported");
    return escape == 'v' ? R"(\x0B)" : same;  // Oniguruma's is the one character
  }
  if (!in_class) return detail::concat(is_upper ? "[^" : "[", members, "]");
  SHIRA_CHECK(IoError, escape != 'W', "\\W within a class is not supported");
  // PCRE2's \S and \D within a class differ from Oniguruma's at U+180E alone.
  return is_upper ? same : std::string(members);
}

/// Rewrites Oniguruma's escapes and refuses what it alone has; the rest is common to both.
std::string to_pcre2(const std::string& pattern) {
  std::string result;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      result += translate_escape(pattern[++i], in_class);
      continue;
    }
    refuse_foreign(pattern, i, in_class);
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    result += c;
  }
  return result;
}

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

/// What a thread needs to match: one pair of offsets, and a stack for the compiled code.
class Scratch {
 public:
  Scratch()
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack_(pcre2_jit_stack_create(64 << 10, 16 << 20, nullptr)) {
    pcre2_jit_stack_assign(context, nullptr, stack_);
  }
  ~Scratch() {
    pcre2_jit_stack_free(stack_);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  pcre2_match_data* data;
  pcre2_match_context* context;

 private:
  pcre2_jit_stack* stack_;
};

Scratch& scratch() {
  thread_local Scratch instance;
  return instance;
}

}  // namespace

struct UnicodeRegex::Code {
  pcre2_code* code = nullptr;
  ~Code() { pcre2_code_free(code); }
};

UnicodeRegex::UnicodeRegex(const std::string& pattern) : code_(std::make_unique<Code>()) {
  const std::string translated = to_pcre2(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, nullptr);
  SHIRA_CHECK(IoError, code_->code != nullptr, message_of(error));
  pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE);  // without it, matching is only slower
}

UnicodeRegex::~UnicodeRegex() = default;
UnicodeRegex::UnicodeRegex(UnicodeRegex&&) noexcept = default;

TextRange UnicodeRegex::find(std::string_view text, std::size_t start) const {
  Scratch& mine = scratch();
  const int found = pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                start, PCRE2_NO_UTF_CHECK, mine.data, mine.context);
  if (found == PCRE2_ERROR_NOMATCH) return {text.npos, text.npos};
  SHIRA_CHECK(Error, found >= 0, "[UnicodeRegex::find] ", message_of(found), ".");
  const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(mine.data);
  return {offsets[0], offsets[1]};
}

}  // namespace shira
