// One function a rule.
#include "config_rules.h"

#include "config_keys.h"

#include <shira/base/error.h>

#include <limits>
#include <tuple>

namespace shira::detail {
namespace {

// The entry that came last is the one to take back.
const Entry& later_one(const Entry& a, const Entry& b) {
  const auto position = [](const Entry& entry) {
    return std::tuple(entry.place.order, entry.place.line);
  };
  return position(a) < position(b) ? b : a;
}

void report_pair(const Entry& a, const Entry& b, std::string_view what, Problems& problems) {
  const Entry& later = later_one(a, b);
  const Entry& earlier = &later == &a ? b : a;
  const bool is_override = later.place.order > 0 && earlier.place.order == 0;
  const std::string way_out =
      is_override ? concat("; `--set ", earlier.key, "=` takes the file's back") : "";
  problems.add(later.place, later.key,
               concat(what, " ", earlier.key, ", expected one of the two", way_out));
}

void refuse_both(std::string_view a, std::string_view b, const GivenKeys& given,
                 Problems& problems) {
  const auto first = given.find(a), second = given.find(b);
  if (first == given.end() || second == given.end()) return;
  report_pair(first->second, second->second, "given together with", problems);
}

void apply_bf16(const GivenKeys& given, Problems& problems, RunConfig& config) {
  const auto alias = given.find("bf16");
  bool is_bf16 = false;
  if (alias == given.end() || !YAML::convert<bool>::decode(alias->second.value, is_bf16)) return;
  const auto dtype = given.find("base_dtype");
  if (dtype == given.end()) {
    if (is_bf16) config.base_dtype = "bfloat16";
  } else if (is_bf16 != (config.base_dtype == "bfloat16")) {
    report_pair(alias->second, dtype->second, "contradicts", problems);
  }
}

void refuse_shira_keys_of_full(const GivenKeys& given, Problems& problems,
                               const RunConfig& config) {
  if (config.adapter != "full") return;
  for (const auto& [key, entry] : given) {
    const bool is_known = find_key(config_keys(), key) != nullptr;
    if (!is_known || !key.starts_with("shira_")) continue;
    problems.add(entry.place, key, "has no effect with adapter: full, which trains every weight");
  }
}

void report_missing(const GivenKeys& given, const Place& whole_file, Problems& problems) {
  Place place = whole_file;
  place.order = std::numeric_limits<int>::max();
  for (const Key<RunConfig>& key : config_keys()) {
    if (key.required && !given.contains(key.name))
      problems.add(place, key.name, "missing, expected a value");
  }
}

}  // namespace

void apply_rules(const GivenKeys& given, const Place& whole_file, Problems& problems,
                 RunConfig& config) {
  refuse_both("shira_density", "shira_r", given, problems);
  refuse_both("warmup_steps", "warmup_ratio", given, problems);
  apply_bf16(given, problems, config);
  refuse_shira_keys_of_full(given, problems, config);
  report_missing(given, whole_file, problems);
  const bool needs_budget = config.adapter == "shira" && !config.shira_r;
  if (needs_budget && !config.shira_density) config.shira_density = 0.01;
}

}  // namespace shira::detail
