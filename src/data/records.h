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

/// What a record, a JSON object, becomes. Throws IoError, without saying where, for one that cannot
/// be used. Called from several threads.
using MakeSamples = std::function<std::vector<Sample>(const nlohmann::json& record)>;

/// The samples of all records, in order. One IoError names line and number of every record that is
/// no object or that `make` refuses (the first 20, and how many more), or where the JSON breaks.
std::vector<Sample> read_records(const std::filesystem::path& path, const MakeSamples& make);

/// A record's text; IoError says what was `expected` when it is missing or none.
std::string text_field(const nlohmann::json& record, const std::string& key,
                       std::string_view expected);

}  // namespace shira
