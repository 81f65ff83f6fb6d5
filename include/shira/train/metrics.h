// metrics.jsonl: one JSON object a line for each logged step, readable while the run goes on.
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace shira {

using MetricValue = std::variant<std::int64_t, double, std::string>;

/// Keys and values in the order in which they are written: {{"step", 10}, {"loss", 2.5}}.
using MetricRecord = std::vector<std::pair<std::string, MetricValue>>;

/// The run's metrics file. Errors are IoError.
class SHIRA_API MetricsFile {
 public:
  /// Opens the file for appending and creates it when it is not there; its directory must exist.
  explicit MetricsFile(std::filesystem::path path);

  /// Removes every record of a later step (-1 = all that have a step), evaluations and samples of
  /// steps after `evaluated_step`, and every torn line, which a killed run may leave at the end.
  /// The file is replaced atomically. Call it before write.
  void truncate_after(std::int64_t step, std::int64_t evaluated_step);

  /// Appends one line and hands it to the system. Numbers are written so that they read back to the
  /// same bits; NaN and infinities, which JSON does not have, as null.
  void write(const MetricRecord& record);

 private:
  void open();

  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace shira
