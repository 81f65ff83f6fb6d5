// A line goes out in one write, so that a killed run tears at most the last one.
#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/train/metrics.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <sstream>

namespace shira {
namespace {

nlohmann::ordered_json json_record(const MetricRecord& record) {
  auto json = nlohmann::ordered_json::object();
  for (const auto& [key, value] : record) {
    std::visit([&, &name = key](const auto& content) { json[name] = content; }, value);
  }
  return json;
}

// A torn line is no JSON object: its closing brace is the last thing written.
bool belongs_to_run_until(std::int64_t step, std::int64_t evaluated_step, const std::string& line) {
  const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return false;
  const auto found = json.find("step");
  if (found == json.end() || !found->is_number()) return true;
  const bool is_evaluation = json.contains("eval_loss") || json.contains("sample");
  const std::int64_t last = is_evaluation ? std::min(step, evaluated_step) : step;
  return found->get<double>() <= static_cast<double>(last);
}

}  // namespace

MetricsFile::MetricsFile(std::filesystem::path path) : path_(std::move(path)) { open(); }

void MetricsFile::open() {
  out_.open(path_, std::ios::binary | std::ios::app);
  SHIRA_CHECK(IoError, out_, path_.string(),
              ": cannot be opened for appending; expected a writable directory");
}

void MetricsFile::truncate_after(std::int64_t step, std::int64_t evaluated_step) {
  const std::string old_text = read_file(path_);
  std::istringstream lines(old_text);
  std::string new_text;
  for (std::string line; std::getline(lines, line);) {
    if (belongs_to_run_until(step, evaluated_step, line)) new_text += line + "\n";
  }
  if (new_text == old_text) return;
  out_.close();
  write_file(path_, new_text);
  open();
}

void MetricsFile::write(const MetricRecord& record) {
  using Handler = nlohmann::ordered_json::error_handler_t;
  out_ << json_record(record).dump(-1, ' ', false, Handler::replace) + "\n" << std::flush;
  SHIRA_CHECK(IoError, out_, path_.string(), ": cannot be written; is the disk full?");
}

}  // namespace shira
