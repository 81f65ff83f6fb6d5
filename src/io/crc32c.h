// CRC-32C (Castagnoli), the checksum of TFRecord files; RFC 3720, section 12.1.
#pragma once

#include <cstdint>
#include <string_view>

namespace shira::detail {

std::uint32_t crc32c(std::string_view bytes);

}  // namespace shira::detail
