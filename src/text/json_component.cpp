#include "json_component.h"

#include <shira/io/atomic_file.h>

namespace shira {

nlohmann::json read_json_object(const std::filesystem::path& file) {
  auto object = nlohmann::json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  SHIRA_CHECK(IoError, object.is_object(), file.string(), ": not a JSON object.");
  return object;
}

}  // namespace shira
