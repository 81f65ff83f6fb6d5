// load_config: the file's entries, then the overrides' entries, each checked by its row of the key
// table; the last entry of a key counts.
#include "config_keys.h"
#include "config_rules.h"
#include "map_reader.h"
#include "problems.h"
#include "yaml_document.h"

#include <shira/base/error.h>
#include <shira/config/config_parser.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

namespace shira {
namespace {

using detail::Entry;
using detail::Place;
using detail::Problems;

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string reason = in ? "" : std::strerror(errno);
  SHIRA_CHECK(IoError, in, path.string(), ": cannot be opened: ", reason,
              "; expected a YAML configuration");
  std::ostringstream text;
  if (in.peek() != std::ifstream::traits_type::eof()) text << in.rdbuf();
  SHIRA_CHECK(IoError, !in.bad(), path.string(), ": cannot be read; expected a YAML configuration");
  return text.str();
}

std::vector<Entry> file_entries(const std::string& text, const Place& file, Problems& problems) {
  const YAML::Node root = detail::parse_document(text);
  if (root.IsMap()) return detail::entries_of(root, {file, "", problems});
  if (!root.IsNull()) problems.add(file, "", "expected a map of keys and values");
  return {};
}

std::vector<Entry> file_entries(const std::filesystem::path& path, Problems& problems) {
  const std::string text = read_text(path);
  try {
    return file_entries(text, {path.string(), 1}, problems);
  } catch (const YAML::Exception& error) {
    const YAML::Mark& mark = error.mark;
    throw ConfigError(detail::concat(path.string(), ":", mark.line + 1, ":", mark.column + 1,
                                     ": not valid YAML: ", error.msg));
  }
}

void add_override(const std::string& text, int order, std::vector<Entry>& entries,
                  Problems& problems) {
  const Place place{"--set " + text, 0, order};
  const std::size_t sign = text.find('=');
  if (sign == std::string::npos || sign == 0) {
    return problems.add(place, "", "expected key=value");
  }
  try {
    const YAML::Node value = detail::parse_document(text.substr(sign + 1));
    entries.push_back({text.substr(0, sign), value, place});
  } catch (const YAML::Exception& error) {
    problems.add(place, text.substr(0, sign), "not valid YAML: " + error.msg);
  }
}

std::map<std::string, std::size_t> last_of_each_key(const std::vector<Entry>& entries) {
  std::map<std::string, std::size_t> last;
  for (std::size_t i = 0; i < entries.size(); ++i) last[entries[i].key] = i;
  return last;
}

// What an override replaces is checked all the same, but read into a struct that nobody looks at.
RunConfig read_entries(const std::vector<Entry>& entries, Problems& problems) {
  const auto last = last_of_each_key(entries);
  RunConfig config, replaced;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const Entry& entry = entries[i];
    RunConfig& out = last.at(entry.key) == i ? config : replaced;
    detail::read_entry(entry, detail::config_keys(), {entry.place, entry.key, problems}, out);
  }
  return config;
}

detail::GivenKeys given_keys(const std::vector<Entry>& entries) {
  detail::GivenKeys given;
  for (const auto& [key, i] : last_of_each_key(entries)) {
    if (!entries[i].value.IsNull()) given.emplace(key, entries[i]);
  }
  return given;
}

}  // namespace

RunConfig load_config(const std::filesystem::path& path,
                      const std::vector<std::string>& overrides) {
  Problems problems;
  std::vector<Entry> entries = file_entries(path, problems);
  int order = 0;
  for (const std::string& text : overrides) add_override(text, ++order, entries, problems);
  RunConfig config = read_entries(entries, problems);
  detail::apply_rules(given_keys(entries), {path.string()}, problems, config);
  problems.throw_if_any();
  return config;
}

}  // namespace shira
