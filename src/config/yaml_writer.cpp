// to_yaml: the key table, group by group, with this configuration's values. Written by hand rather
// than with YAML::Emitter, for the comments and for exact numbers.
#include "config_keys.h"
#include "config_rules.h"
#include "yaml_number.h"

#include <shira/base/error.h>
#include <shira/config/config_parser.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace shira {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

// Whether a text is written without quotes: other readers must not take it for another type.
bool is_plain(std::string_view text) {
  constexpr std::string_view kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";
  constexpr std::array<std::string_view, 9> kOtherTypes = {"null", "true", "false", "yes", "no",
                                                           "on",   "off",  "y",     "n"};
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool starts_like_text =
      !text.empty() && std::string_view("-.0123456789").find(text[0]) == std::string_view::npos;
  return (starts_like_text || text.starts_with("../") || text.starts_with("./")) &&
         text.find_first_not_of(kLetters) == std::string_view::npos &&
         std::ranges::count(kOtherTypes, lower) == 0;
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (letter == '"' || letter == '\\') {
      out += {'\\', letter};
    } else if (byte < 0x20 || byte == 0x7f) {
      out += {'\\', 'x', kHexDigits[byte >> 4], kHexDigits[byte & 15]};
    } else {
      out += letter;
    }
  }
  return out + "\"";
}

// An empty text or list is written as nothing, which reads back as "not given".
std::string value_text(const std::string& value) {
  if (value.empty()) return "";
  return is_plain(value) ? value : in_quotes(value);
}
std::string value_text(bool value) { return value ? "true" : "false"; }
std::string value_text(std::int64_t value) { return std::to_string(value); }
std::string value_text(double value) { return detail::shortest(value); }

template <typename Value>
std::string value_text(const std::optional<Value>& value) {
  return value ? value_text(*value) : "";
}

std::string value_text(const std::vector<std::string>& values) {
  if (values.empty()) return "";
  std::string out;
  for (const std::string& value : values) out += (out.empty() ? "" : ", ") + value_text(value);
  return "[" + out + "]";
}

template <typename Struct>
std::string field_text(const Struct& values, const detail::Key<Struct>& key);

// One block item an entry: "\n  - path: a.txt\n    type: text".
std::string value_text(const std::vector<DatasetConfig>& entries) {
  std::string out;
  for (const DatasetConfig& entry : entries) {
    std::string_view indent = "\n  - ";
    for (const auto& key : detail::dataset_keys()) {
      out += detail::concat(indent, key.name, ": ", field_text(entry, key));
      indent = "\n    ";
    }
  }
  return out;
}

// A word that stands for a list is written as the word.
std::string value_text(const std::vector<std::string>& values, const detail::Allowed& allowed) {
  const bool is_word = values.size() == 1 && std::ranges::count(allowed.choices, values[0]) > 0;
  return is_word ? values[0] : value_text(values);
}

template <typename Value>
std::string value_text(const Value& value, const detail::Allowed&) {
  return value_text(value);
}

template <typename Struct>
std::string field_text(const Struct& values, const detail::Key<Struct>& key) {
  const auto write = [&](auto member) -> std::string {
    if constexpr (std::is_member_object_pointer_v<decltype(member)>) {
      return value_text(values.*member, key.allowed);
    } else {
      return "";
    }
  };
  return std::visit(write, key.field);
}

// An alias and what load_config would refuse stay out.
bool is_written(const detail::Key<RunConfig>& key, const RunConfig& config, bool trains_pictures) {
  if (std::holds_alternative<detail::Bf16Alias>(key.field)) return false;
  return detail::without_effect(key.name, config, trains_pictures).empty();
}

std::string key_line(const detail::Key<RunConfig>& key, const RunConfig& config) {
  const std::string value = field_text(config, key);
  const std::string comment = key.about.empty() ? "" : detail::concat("  # ", key.about);
  if (value.starts_with('\n')) return detail::concat(key.name, ":", comment, value, "\n");
  return detail::concat(key.name, value.empty() ? ":" : ": ", value, comment, "\n");
}

std::string group_text(const detail::KeyGroup& group, const RunConfig& config,
                       bool trains_pictures) {
  std::string lines;
  for (const auto& key : group.keys) {
    if (is_written(key, config, trains_pictures)) lines += key_line(key, config);
  }
  return lines.empty() ? "" : detail::concat("# ", group.title, "\n", lines);
}

}  // namespace

std::string to_yaml(const RunConfig& config) {
  const bool trains_pictures = is_text_to_image(config);
  std::string text;
  for (const detail::KeyGroup& group : detail::config_key_groups()) {
    const std::string part = group_text(group, config, trains_pictures);
    const bool is_further = !text.empty() && !part.empty();
    text += (is_further ? "\n" : "") + part;
  }
  return text;
}

}  // namespace shira
