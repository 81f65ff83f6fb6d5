// UTF-8 passes through; only what could steer a terminal is escaped.
#include "quote.h"

namespace shira::detail {

std::string quote(std::string_view name) {
  constexpr std::size_t kLongest = 200;
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string quoted = "\"";
  for (const unsigned char c : name.substr(0, kLongest)) {
    if (c >= 0x20 && c != 0x7f) {
      quoted += static_cast<char>(c);
    } else {
      quoted += {'\\', 'x', kHex[c >> 4], kHex[c & 15]};
    }
  }
  return quoted + (name.size() > kLongest ? "...\"" : "\"");
}

}  // namespace shira::detail
