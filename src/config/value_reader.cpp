// One function a type. Numbers must be plain scalars: in YAML a quoted "42" is a text.
#include "value_reader.h"

#include "map_reader.h"
#include "yaml_number.h"

#include <shira/base/error.h>

#include <algorithm>
#include <cmath>

namespace shira::detail {
namespace {

bool is_quoted(const YAML::Node& node) { return node.IsScalar() && node.Tag() == "!"; }

std::string shortened(const std::string& text) {
  constexpr std::size_t kLongest = 60;
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
}

std::string describe(const YAML::Node& node) {
  if (node.IsSequence()) return "a list";
  if (node.IsMap()) return "a map";
  if (node.IsNull()) return "nothing";
  return concat("'", shortened(node.Scalar()), "'");
}

bool mismatch(const YAML::Node& node, const Spot& spot, std::string_view expected,
              std::string_view remark = "") {
  spot.report(concat("got ", describe(node), remark, ", expected ", expected));
  return false;
}

bool number_mismatch(const YAML::Node& node, const Spot& spot, const std::string& expected) {
  return mismatch(node, spot, expected, is_quoted(node) ? " in quotes, which is a text" : "");
}

bool is_allowed(double value, const Allowed& allowed) {
  return (!allowed.above || value > *allowed.above) &&
         (!allowed.at_least || value >= *allowed.at_least) &&
         (!allowed.below || value < *allowed.below) &&
         (!allowed.at_most || value <= *allowed.at_most) &&
         (!allowed.whole_from_one || value < 1 || value == std::floor(value));
}

std::string in_words(std::string kind, const Allowed& allowed) {
  std::string_view link = " ";
  const auto limit = [&](std::string_view sign, const std::optional<double>& value) {
    if (!value) return;
    kind += concat(link, sign, " ", shortest(*value));
    link = " and ";
  };
  limit(">", allowed.above);
  limit(">=", allowed.at_least);
  limit("<", allowed.below);
  limit("<=", allowed.at_most);
  return allowed.whole_from_one ? kind + " that is whole from 1 on" : kind;
}

std::string in_words(const std::vector<std::string_view>& choices) {
  std::string words = choices.size() > 1 ? "one of " : "";
  for (std::size_t i = 0; i < choices.size(); ++i) {
    words += concat(i > 0 ? ", " : "", choices[i]);
  }
  return words;
}

}  // namespace

bool read_value(const YAML::Node& node, const Allowed& allowed, const Spot& spot,
                std::string& out) {
  const std::string text = node.IsScalar() ? node.Scalar() : "";
  const bool is_file = allowed.or_file && is_mask_file(text);
  const bool is_choice =
      allowed.choices.empty() || is_file || std::ranges::count(allowed.choices, text) > 0;
  if (!text.empty() && is_choice) {
    out = text;
    return true;
  }
  if (allowed.choices.empty()) return mismatch(node, spot, "a text that is not empty");
  const std::string_view or_file = allowed.or_file ? ", or a file's path (with a / or a .)" : "";
  return mismatch(node, spot, concat(in_words(allowed.choices), or_file));
}

bool read_value(const YAML::Node& node, const Allowed&, const Spot& spot, bool& out) {
  if (!is_quoted(node) && YAML::convert<bool>::decode(node, out)) return true;
  return number_mismatch(node, spot, "true or false");
}

bool read_value(const YAML::Node& node, const Allowed& allowed, const Spot& spot,
                std::int64_t& out) {
  const bool is_plain = node.IsScalar() && !is_quoted(node);
  const auto value = is_plain ? parse_whole(node.Scalar()) : std::nullopt;
  if (value && is_allowed(static_cast<double>(*value), allowed)) {
    out = *value;
    return true;
  }
  return number_mismatch(node, spot, in_words("a whole number", allowed));
}

bool read_value(const YAML::Node& node, const Allowed& allowed, const Spot& spot, double& out) {
  const bool is_plain = node.IsScalar() && !is_quoted(node);
  const auto value = is_plain ? parse_number(node.Scalar()) : std::nullopt;
  if (value && is_allowed(*value, allowed)) {
    out = *value;
    return true;
  }
  return number_mismatch(node, spot, in_words("a number", allowed));
}

bool read_value(const YAML::Node& node, const Allowed& allowed, const Spot& spot,
                std::vector<std::string>& out) {
  const bool is_word = node.IsScalar() && std::ranges::count(allowed.choices, node.Scalar()) > 0;
  if (is_word) {
    out = {node.Scalar()};
    return true;
  }
  if (!node.IsSequence() || node.size() == 0) {
    const std::string words = allowed.choices.empty() ? "" : in_words(allowed.choices) + " or ";
    const std::string items = allowed.items.empty() ? "texts" : in_words(allowed.items);
    return mismatch(node, spot, words + "a list of " + items);
  }
  std::vector<std::string> texts(node.size());
  bool is_good = true;
  for (std::size_t i = 0; i < node.size(); ++i) {
    const Spot item{spot.place, concat(spot.key, "[", i, "]"), spot.problems};
    is_good = read_value(node[i], {.choices = allowed.items}, item, texts[i]) && is_good;
  }
  if (is_good) out = texts;
  return is_good;
}

bool read_value(const YAML::Node& node, const Allowed&, const Spot& spot,
                std::vector<DatasetConfig>& out) {
  if (!node.IsSequence() || node.size() == 0) {
    return mismatch(node, spot, "a list of {path: FILE, type: TYPE}");
  }
  std::vector<DatasetConfig> entries(node.size());
  for (std::size_t i = 0; i < node.size(); ++i) {
    const Spot item{spot.place.of(node[i]), concat(spot.key, "[", i, "]"), spot.problems};
    if (node[i].IsMap()) {
      read_map(node[i], dataset_keys(), item, entries[i]);
    } else {
      mismatch(node[i], item, "a map {path: FILE, type: TYPE}");
    }
  }
  out = entries;
  return true;
}

}  // namespace shira::detail
