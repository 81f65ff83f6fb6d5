// A file that is one JSON object.
#pragma once

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>

#include <nlohmann/json.hpp>

#include <filesystem>

namespace shira::detail {

/// The object in `path`. IoError when it is missing or no JSON object.
inline nlohmann::json read_json_object(const std::filesystem::path& path) {
  auto object = nlohmann::json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  SHIRA_CHECK(IoError, object.is_object(), path.string(), ": not a JSON object.");
  return object;
}

}  // namespace shira::detail
