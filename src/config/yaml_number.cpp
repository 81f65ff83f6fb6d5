// std::from_chars and std::to_chars do the work; what they take beyond YAML's grammar is refused.
#include "yaml_number.h"

#include <charconv>
#include <cmath>

namespace shira::detail {
namespace {

template <typename Number>
std::optional<Number> parse_all(std::string_view text, std::string_view letters) {
  if (text.find_first_not_of(letters) != std::string_view::npos) return std::nullopt;
  if (text.starts_with("+-")) return std::nullopt;
  if (text.starts_with('+')) text.remove_prefix(1);
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::int64_t> parse_whole(std::string_view text) {
  return parse_all<std::int64_t>(text, "+-0123456789");
}

std::optional<double> parse_number(std::string_view text) {
  return parse_all<double>(text, "+-0123456789.eE");
}

std::string shortest(double value) {
  const double size = std::abs(value);
  const bool is_plain = size == 0 || (size >= 1e-5 && size < 1e15);
  const auto format = is_plain ? std::chars_format::fixed : std::chars_format::scientific;
  char text[64];
  const auto result = std::to_chars(text, text + sizeof text, value, format);
  std::string number(text, result.ptr);
  const std::size_t exponent = number.find('e');
  const bool needs_point = exponent != number.npos && number.find('.') == number.npos;
  return needs_point ? number.insert(exponent, ".0") : number;
}

}  // namespace shira::detail
