// A list is cut into its elements before anything is parsed, so that each is parsed, tokenised and
// blamed on its own, like the lines of JSONL.
#include "records.h"

#include "text/utf8.h"

#include <shira/base/error.h>

#include <ATen/Parallel.h>

#include <algorithm>
#include <iterator>
#include <optional>

namespace shira {
namespace {

using nlohmann::json;

constexpr std::size_t kReportedProblems = 20;
constexpr std::string_view kBlanks = " \t\r\n";
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool is_blank(std::string_view text) { return text.find_first_not_of(kBlanks) == text.npos; }

std::string_view skip_blanks(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(kBlanks), text.size()));
}

std::size_t offset_in(std::string_view text, std::string_view part) {
  return static_cast<std::size_t>(part.data() - text.data());
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (!is_blank(line)) lines.push_back(skip_blanks(line));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return lines;
}

/// The elements of a JSON list; nothing when its quotes and brackets do not add up.
std::optional<std::vector<std::string_view>> split_list(std::string_view list) {
  std::vector<std::string_view> elements;
  std::size_t begin = 1;
  std::int64_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const char c = list[i];
    if (in_string && c == '\\') ++i;
    if (c == '"') in_string = !in_string;
    if (in_string) continue;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    const bool is_end = depth == 0;
    if (is_end || (c == ',' && depth == 1)) {
      elements.push_back(skip_blanks(list.substr(begin, i - begin)));
      begin = i + 1;
    }
    if (!is_end) continue;
    if (elements.size() == 1 && elements.front().empty()) elements.clear();
    return is_blank(list.substr(begin)) ? std::optional(std::move(elements)) : std::nullopt;
  }
  return std::nullopt;
}

/// The records of a file's text.
std::vector<std::string_view> split_records(std::string_view text, const std::string& file) {
  std::string_view content = text;
  if (content.starts_with(kByteOrderMark)) content.remove_prefix(kByteOrderMark.size());
  content = skip_blanks(content);
  if (!content.starts_with('[')) return split_lines(content);
  auto elements = split_list(content);
  if (elements) return std::move(*elements);
  std::size_t broken_at = 0;
  try {
    [[maybe_unused]] const json list = json::parse(content);
  } catch (const json::parse_error& error) {
    broken_at = error.byte - 1;
  }
  throw IoError(detail::concat(file, ":", place_of(text, offset_in(text, content) + broken_at),
                               ": not valid JSON, expected a list of objects."));
}

/// Why a record cannot be used; empty when it was.
struct Problem {
  std::string text;
  std::size_t at = 0;  // in the record
};

template <typename Use>
Problem try_record(std::string_view record, const Use& use) {
  try {
    const json value = json::parse(record);
    SHIRA_CHECK(IoError, value.is_object(), "expected a JSON object, got ", value.type_name(), ".");
    use(value);
    return {};
  } catch (const json::parse_error& error) {
    return {"not valid JSON, expected an object.", error.byte - 1};
  } catch (const json::exception&) {  // a number that is too large
    return {"not valid JSON, expected an object."};
  } catch (const IoError& error) {
    return {error.what()};
  }
}

/// Throws if any of the records has a problem.
void check_problems(const std::vector<Problem>& problems,
                    const std::vector<std::string_view>& records, std::string_view text,
                    const std::string& file) {
  std::size_t count = 0;
  std::string list;
  for (std::size_t i = 0; i < problems.size(); ++i) {
    const Problem& problem = problems[i];
    if (problem.text.empty() || ++count > kReportedProblems) continue;
    const std::string place = place_of(text, offset_in(text, records[i]) + problem.at);
    list += detail::concat("\n  ", file, ":", place, ": record ", i + 1, ": ", problem.text);
  }
  if (count > kReportedProblems) {
    list += detail::concat("\n  and ", count - kReportedProblems, " more");
  }
  SHIRA_CHECK(IoError, count == 0, file, ": ", count, " of ", problems.size(),
              " records cannot be used:", list);
}

}  // namespace

RecordFile::RecordFile(const std::filesystem::path& path)
    : file_(path.string()), text_(read_utf8_file(path)), records_(split_records(text_, file_)) {}

void RecordFile::for_each(const std::function<void(std::size_t, const json&)>& use) const {
  constexpr std::int64_t kGrain = 16;
  std::vector<Problem> problems(records_.size());
  at::parallel_for(0, std::ssize(records_), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      problems[i] = try_record(records_[i], [&](const json& record) { use(i, record); });
    }
  });
  check_problems(problems, records_, text_, file_);
}

std::vector<Sample> read_records(const std::filesystem::path& path, const MakeSamples& make) {
  const RecordFile file(path);
  std::vector<std::vector<Sample>> made(file.size());
  file.for_each([&](std::size_t i, const json& record) { made[i] = make(record); });
  std::vector<Sample> samples;
  for (std::vector<Sample>& some : made) {
    std::move(some.begin(), some.end(), std::back_inserter(samples));
  }
  return samples;
}

std::string text_field(const json& record, const std::string& key, std::string_view expected) {
  const auto found = record.find(key);
  SHIRA_CHECK(IoError, found != record.end() && !found->is_null(), "no '", key, "'. Expected ",
              expected, ".");
  SHIRA_CHECK(IoError, found->is_string(), "'", key, "' is not a text. Expected ", expected, ".");
  return found->get<std::string>();
}

}  // namespace shira
