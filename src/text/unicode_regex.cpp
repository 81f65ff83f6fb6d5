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

/// Rewrites Oniguruma's escapes and refuses what it alone has; the rest is common to both.
std::string to_pcre2(const std::string& pattern) {
  constexpr std::string_view kCommon = "pPrntvfabBAzZGxe0123456789";
  std::string result;
  bool in_class = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '\\' || i + 1 == pattern.size()) {
      const bool is_option = !in_class && c == '(' && pattern.compare(i, 2, "(?") == 0 &&
                             std::isalpha(static_cast<unsigned char>(pattern.c_str()[i + 2])) != 0;
      SHIRA_CHECK(IoError, !is_option || pattern.compare(i, 3, "(?i") == 0,
                  "of the options (?...) only i is supported");
      SHIRA_CHECK(IoError, !(in_class && c == '&' && pattern.compare(i, 2, "&&") == 0),
                  "intersections of classes (&&) are not supported");
      const bool nested = in_class && c == '[' && pattern.compare(i, 2, "[:") != 0;
      SHIRA_CHECK(IoError, !nested, "classes within classes are not supported");
      if (c == '[') in_class = true;
      if (c == ']') in_class = false;
      result += c;
      continue;
    }
    const char escape = pattern[++i];
    const std::string_view members = class_members(escape);
    if (members.empty()) {
      const bool is_letter = (escape >= 'a' && escape <= 'z') || (escape >= 'A' && escape <= 'Z');
      SHIRA_CHECK(IoError, !is_letter || kCommon.find(escape) != kCommon.npos, "\\", escape,
                  " is not supported");
      // Oniguruma's \v is the one character.
      result += escape == 'v' ? R"(\x0B)" : std::string{'\\', escape};
      continue;
    }
    const bool negated = escape >= 'A' && escape <= 'Z';
    SHIRA_CHECK(IoError, !(negated && in_class && escape == 'W'),
                "\\W within a class is not supported");
    if (in_class) {
      // PCRE2's \S and \D within a class differ from Oniguruma's at U+180E alone.
      result += negated ? std::string{'\\', escape} : std::string(members);
    } else {
      result += detail::concat(negated ? "[^" : "[", members, "]");
    }
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
