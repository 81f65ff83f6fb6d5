// Any text is either refused with IoError or is JSON that comes back from its own dump, and that
// nlohmann_json accepts as well.
#include "../../src/io/strict_json.h"
#include "mutation_driver.h"

#include <shira/base/error.h>

std::vector<std::string> fuzz_seeds() {
  return {R"({"a": [1, -2.5e-3, true, null], "b": {"a": "\u00e9\n\ud83e\udd9c"}})",
          R"([[[[[[]]]]], {}, "", 0, -0.0, 18446744073709551615])", "\xef\xbb\xbf 1"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const nlohmann::json value = shira::detail::parse_strict_json(text);
    const std::string dump = value.dump();
    if (!nlohmann::json::accept(text) || shira::detail::parse_strict_json(dump).dump() != dump) {
      std::abort();
    }
  } catch (const shira::IoError&) {
  }
  return 0;
}
