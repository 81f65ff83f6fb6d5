// Files of records: a JSON list of objects, or one object a line (JSONL).
#pragma once

#include <shira/data/dataset.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

/// The records of a UTF-8 file, in order.
class RecordFile {
 public:
  /// IoError says where the JSON of a list breaks.
  explicit RecordFile(const std::filesystem::path& path);
  RecordFile(const RecordFile&) = delete;
  RecordFile& operator=(const RecordFile&) = delete;

  std::size_t size() const { return records_.size(); }
  /// Calls `use(i, record)` for every one, from several threads. IoError, thrown by `use` without
  /// saying where, marks a record that cannot be used; one IoError names line and number of every
  /// such record and of those that are no object (the first 20, and how many more).
  void for_each(const std::function<void(std::size_t, const nlohmann::json&)>& use) const;

 private:
  std::string file_;
  std::string text_;
  std::vector<std::string_view> records_;  // in text_
};

/// What a record, a JSON object, becomes. Throws IoError, without saying where, for one that cannot
/// be used. Called from several threads.
using MakeSamples = std::function<std::vector<Sample>(const nlohmann::json& record)>;

/// The samples of all records, in order; IoError as RecordFile has it.
std::vector<Sample> read_records(const std::filesystem::path& path, const MakeSamples& make);

/// A record's text; IoError says what was `expected` when it is missing or none.
std::string text_field(const nlohmann::json& record, const std::string& key,
                       std::string_view expected);

}  // namespace shira
