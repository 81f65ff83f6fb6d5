// Everything is refused but what is known to mean the same, or can be written so that it does:
// doc/RE and doc/SYNTAX.md of Oniguruma against pcre2pattern(3). The classes were compared over all
// code points.
#include "oniguruma.h"

#include "utf8.h"

#include <shira/base/error.h>

#include <cctype>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace shira {
namespace {

constexpr std::string_view kSpaces = R"(\x09-\x0D\x85\p{Z})";
constexpr std::string_view kWordCharacters = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";  // UTS 18
// Outside of classes Oniguruma's table of Latin-1 decides, which has these, too.
constexpr std::string_view kLatinFractions = R"(\xB2\xB3\xB9\xBC-\xBE)";
constexpr std::string_view kDigits = R"(\p{Nd})";

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// `{n}`, `{n,}`, `{,m}` or `{n,m}`.
struct Interval {
  std::string_view text;
  bool is_fixed = false;
  bool has_low = false;
};

class Translator {
 public:
  explicit Translator(std::string_view pattern) : rest_(pattern) {}

  std::string translate() {
    while (!rest_.empty()) next();
    return std::move(out_);
  }

 private:
  struct Group {
    std::size_t begin = 0;      // in out_
    bool ignores_case = false;  // of what surrounds it
  };

  void next();
  void open_group();
  void close_group();
  void quantify(std::string_view quantifier);
  std::optional<Interval> interval() const;
  void quantify(const Interval& interval);
  void add_class();
  void add_member(bool is_first);
  void add_set(std::string_view members);
  void add_posix_class();
  void add_escape(bool in_class);
  std::string class_of(char escape, bool in_class) const;
  std::string code_point();
  std::string property(char escape);
  void note_literal(char c);

  bool take(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  char take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }
  void append(std::string_view text) { out_ += text; }
  void begin_atom() {
    atom_ = out_.size();
    quantified_ = false;
  }

  std::string_view rest_;
  std::string out_;
  std::vector<Group> groups_;
  std::size_t atom_ = 0;       // where in out_ begins what a quantifier stands behind
  bool quantified_ = false;    // whether one does
  bool at_start_ = true;       // of a group or an alternative
  bool ignores_case_ = false;  // (?i)
  bool after_set_ = false;     // within a class: whether \\s or the like stands before
  char previous_ = '\0';       // the literal before, where case is ignored
};

void Translator::next() {
  const bool at_start = std::exchange(at_start_, false);
  const char c = rest_.front();
  if (c == '(') {
    at_start_ = at_start;
    return open_group();
  }
  if (c == ')') return close_group();
  if (c == '[') return add_class();
  if (c == '\\') return add_escape(/*in_class=*/false);
  if (const auto found = interval()) return quantify(*found);
  if (c == '*' || c == '+' || c == '?') return quantify(rest_.substr(0, 1));
  begin_atom();
  if (c == '|') {
    at_start_ = true;
    previous_ = '\0';
  } else if (c == '{') {
    out_ += '\\';
  } else {
    note_literal(c);
  }
  out_ += take();
  // A character of several bytes is one atom.
  while (!rest_.empty() && (static_cast<unsigned char>(rest_.front()) & 0xC0) == 0x80) {
    out_ += take();
  }
}

void Translator::open_group() {
  const bool at_start = std::exchange(at_start_, true);
  begin_atom();
  if (take("(?i)")) {
    SHIRA_CHECK(IoError, at_start, "(?i) is supported at the start of an alternative only");
    ignores_case_ = true;
    out_ += "(?i)";
    return;
  }
  groups_.push_back({atom_, ignores_case_});
  for (const std::string_view head :
       {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:"}) {
    if (!take(head)) continue;
    if (head == "(?i:") ignores_case_ = true;
    if (head == "(?-i:") ignores_case_ = false;
    out_ += head;
    return;
  }
  SHIRA_CHECK(IoError, !rest_.starts_with("(?") && !rest_.starts_with("(*"), "the group ",
              rest_.substr(0, 3), " is not supported");
  out_ += take();
}

void Translator::close_group() {
  quantified_ = false;
  out_ += take();
  if (groups_.empty()) return;  // PCRE2 has an error for it
  atom_ = groups_.back().begin;
  ignores_case_ = groups_.back().ignores_case;
  if (!ignores_case_) previous_ = '\0';
  groups_.pop_back();
}

/// `*`, `+` or `?`; behind a quantifier ? and + belong to it.
void Translator::quantify(std::string_view quantifier) {
  SHIRA_CHECK(IoError, !quantified_, "a quantifier of a quantifier is not supported");
  out_ += quantifier;
  rest_.remove_prefix(1);
  if (rest_.starts_with('?') || rest_.starts_with('+')) out_ += take();
  quantified_ = true;
}

std::optional<Interval> Translator::interval() const {
  if (!rest_.starts_with('{')) return std::nullopt;
  std::size_t end = 1;
  const auto skip_digits = [&] {
    const std::size_t begin = end;
    while (end < rest_.size() && is_digit(rest_[end])) ++end;
    return end > begin;
  };
  Interval found;
  found.has_low = skip_digits();
  found.is_fixed = end >= rest_.size() || rest_[end] != ',';
  if (!found.is_fixed) ++end;
  const bool has_high = !found.is_fixed && skip_digits();
  const bool is_interval = end < rest_.size() && rest_[end] == '}' && (found.has_low || has_high);
  if (!is_interval) return std::nullopt;
  found.text = rest_.substr(0, end + 1);
  return found;
}

/// Behind an interval, + is a second quantifier, and so is ? where its ends are one number.
void Translator::quantify(const Interval& interval) {
  SHIRA_CHECK(IoError, !quantified_, "a quantifier of a quantifier is not supported");
  SHIRA_CHECK(IoError, !ignores_case_, "intervals where case is ignored are not supported");
  rest_.remove_prefix(interval.text.size());
  out_ +=
      interval.has_low ? std::string(interval.text) : "{0" + std::string(interval.text.substr(1));
  quantified_ = true;
  SHIRA_CHECK(IoError, !rest_.starts_with('?') || !interval.is_fixed, interval.text,
              "? is not supported");
  if (take("?")) out_ += '?';
  if (!take("+")) return;
  out_.insert(atom_, "(?:");
  out_ += ")+";
}

void Translator::add_class() {
  begin_atom();
  after_set_ = false;
  out_ += take();
  if (take("^")) out_ += '^';
  const std::size_t begin = rest_.size();
  while (!rest_.empty() && (rest_.front() != ']' || rest_.size() == begin)) {
    add_member(rest_.size() == begin);
  }
  if (!rest_.empty()) out_ += take();
}

void Translator::add_member(bool is_first) {
  SHIRA_CHECK(IoError, !rest_.starts_with("&&"), "intersections of classes (&&) are not supported");
  const bool is_range = rest_.front() == '-' && !rest_.starts_with("-]");
  SHIRA_CHECK(IoError, !std::exchange(after_set_, false) || !is_range,
              "a range that begins with a class is not supported");
  if (rest_.starts_with("[:")) return add_posix_class();
  SHIRA_CHECK(IoError, rest_.front() != '[', "classes within classes are not supported");
  if (rest_.front() == '\\') return add_escape(/*in_class=*/true);
  SHIRA_CHECK(IoError, !ignores_case_ || static_cast<unsigned char>(rest_.front()) < 0x80,
              "characters beyond ASCII where case is ignored are not supported");
  if (is_first && rest_.front() == ']') out_ += '\\';
  out_ += take();
}

/// Members of a class that are not one character.
void Translator::add_set(std::string_view members) {
  const bool is_first = out_.ends_with("[-") || out_.ends_with("[^-");
  SHIRA_CHECK(IoError, !out_.ends_with('-') || out_.ends_with("\\-") || is_first,
              "a range that ends with a class is not supported");
  out_ += members;
  after_set_ = true;
}

void Translator::add_posix_class() {
  static const std::map<std::string_view, std::string_view> members = {
      {"digit", kDigits},         {"space", kSpaces},
      {"word", kWordCharacters},  {"upper", R"(\p{Uppercase})"},
      {"cntrl", R"(\p{Cc})"},     {"blank", R"(\p{Zs}\x09)"},
      {"punct", R"(\p{P}\p{S})"}, {"xdigit", "0-9a-fA-F"},
      {"ascii", R"(\x00-\x7F)"}};
  const std::size_t end = rest_.find(":]");
  const auto found = members.find(rest_.substr(0, end).substr(2));
  SHIRA_CHECK(IoError, end != rest_.npos && found != members.end() && !ignores_case_, "the class ",
              rest_.substr(0, end == rest_.npos ? 2 : end + 2), " is not supported");
  add_set(found->second);
  rest_.remove_prefix(end + 2);
}

/// The class that \d, \s, \w and their opposites stand for; empty for other escapes.
std::string Translator::class_of(char escape, bool in_class) const {
  const std::string lower = {'\\', static_cast<char>(std::tolower(escape))};
  const bool is_upper = escape >= 'A' && escape <= 'Z';
  std::string members;
  if (lower == "\\d") members = kDigits;
  if (lower == "\\s") members = kSpaces;
  if (lower == "\\w") members = kWordCharacters;
  if (members.empty()) return "";
  if (!in_class) {
    if (lower == "\\w") members += kLatinFractions;
    return detail::concat(is_upper ? "[^" : "[", members, "]");
  }
  SHIRA_CHECK(IoError, escape != 'W' && !(ignores_case_ && (is_upper || escape == 'w')), "\\",
              std::string(1, escape), " within a class is not supported");
  if (escape == 'S') return R"(\S\x{180E})";  // a space in PCRE2
  return is_upper ? R"(\D)" : members;
}

void Translator::add_escape(bool in_class) {
  if (!in_class) begin_atom();
  SHIRA_CHECK(IoError, rest_.size() > 1, "a \\ at the end");
  const char escape = rest_[1];
  rest_.remove_prefix(2);
  SHIRA_CHECK(IoError, !is_digit(escape), "\\", std::string(1, escape),
              " (a back-reference or an octal number) is not supported");
  if (const std::string members = class_of(escape, in_class); !members.empty()) {
    in_class ? add_set(members) : append(members);
  } else if (escape == 'p' || escape == 'P') {
    in_class ? add_set(property(escape)) : append(property(escape));
  } else if (escape == 'x') {
    out_ += code_point();
  } else if (escape == 'v') {
    out_ += R"(\x0B)";  // Oniguruma's is the one character
  } else if ((escape == 'b' || escape == 'B') && !in_class) {
    const std::string word = class_of('w', false);
    const std::string_view after = escape == 'b' ? "!" : "=", before = escape == 'b' ? "=" : "!";
    out_ += detail::concat("(?:(?<=", word, ")(?", after, word, ")|(?<!", word, ")(?", before, word,
                           "))");
  } else {
    const std::string_view common = in_class ? "ntfaerb" : "ntfaerAzZG";
    SHIRA_CHECK(IoError, !is_letter(escape) || common.find(escape) != common.npos, "\\",
                std::string(1, escape), in_class ? " within a class" : "", " is not supported");
    if (!in_class && !is_letter(escape)) note_literal(escape);
    out_ += {'\\', escape};
    while (!rest_.empty() && (static_cast<unsigned char>(rest_.front()) & 0xC0) == 0x80) {
      out_ += take();
    }
  }
}

/// \xHH of ASCII, \x{H...}.
std::string Translator::code_point() {
  const bool braced = take("{");
  std::string digits;
  while (!rest_.empty() && std::isxdigit(static_cast<unsigned char>(rest_.front())) != 0 &&
         digits.size() < (braced ? 6 : 2)) {
    digits += take();
  }
  const bool is_complete = braced ? !digits.empty() && take("}") : digits.size() == 2;
  SHIRA_CHECK(IoError, is_complete && (braced || digits[0] < '8'), "\\x", digits,
              " is not supported. Write \\x{...}");
  SHIRA_CHECK(IoError, !ignores_case_ || std::stoul(digits, nullptr, 16) < 0x80,
              "characters beyond ASCII where case is ignored are not supported");
  return "\\x{" + digits + "}";
}

/// \p{category or script}, \p{^...}. PCRE2's names of scripts alone mean their extensions.
std::string Translator::property(char escape) {
  static constexpr std::string_view kSame =
      " L N M P S Z C Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp "
      "Cc Cf Co Cn Cs Any Emoji Extended_Pictographic White_Space ";
  SHIRA_CHECK(IoError, take("{"), "\\", std::string(1, escape), " without {...} is not supported");
  SHIRA_CHECK(IoError, !ignores_case_, "\\", std::string(1, escape),
              " where case is ignored is not supported");
  const std::string negation = take("^") ? "^" : "";
  std::string name;
  while (!rest_.empty() && (is_letter(rest_.front()) || rest_.front() == '_')) name += take();
  SHIRA_CHECK(IoError, !name.empty() && take("}"), "the property \\", std::string(1, escape), "{",
              name, rest_.substr(0, 1), "... is not supported");
  const bool is_same = kSame.find(" " + name + " ") != kSame.npos;
  return detail::concat("\\", std::string(1, escape), "{", negation, is_same ? "" : "sc:", name,
                        "}");
}

/// Where case is ignored, Oniguruma also takes one character for two: U+00DF for ss.
void Translator::note_literal(char c) {
  if (!ignores_case_) return;
  SHIRA_CHECK(IoError, static_cast<unsigned char>(c) < 0x80,
              "characters beyond ASCII where case is ignored are not supported");
  const std::string pair = {previous_, static_cast<char>(std::tolower(c))};
  previous_ = pair[1];
  for (const std::string_view ligature : {"ss", "st", "ff", "fi", "fl"}) {
    SHIRA_CHECK(IoError, pair != ligature, pair, " where case is ignored is not supported");
  }
}

}  // namespace

std::string to_pcre2(const std::string& pattern) { return Translator(pattern).translate(); }

}  // namespace shira
