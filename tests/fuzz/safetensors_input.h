// Safetensors files as fuzz inputs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace shira {

/// A file of this header and `data_size` bytes of data.
inline std::string safetensors_input(const std::string& json, std::size_t data_size) {
  const std::uint64_t length = json.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + json + std::string(data_size, 'd');
}

/// The same file with a header that ends at its last brace, where most mutations would end.
inline std::string with_right_length(std::string_view file) {
  std::string copy(file);
  const std::size_t brace = copy.rfind('}');
  if (brace == copy.npos || brace < 8) return copy;
  const std::uint64_t length = brace + 1 - 8;
  std::memcpy(copy.data(), &length, sizeof(length));
  return copy;
}

}  // namespace shira
