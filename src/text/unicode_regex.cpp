// The only file that knows PCRE2. Its classes are Unicode's (PCRE2_UCP).
#include "unicode_regex.h"

#include "oniguruma.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <shira/base/error.h>

#include <pcre2.h>

#include <array>
#include <cstdint>

namespace shira {
namespace {

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

bool UnicodeRegex::matches_empty() const {
  std::uint32_t may_be_empty = 0;
  pcre2_pattern_info(code_->code, PCRE2_INFO_MATCHEMPTY, &may_be_empty);
  return may_be_empty != 0;
}

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
