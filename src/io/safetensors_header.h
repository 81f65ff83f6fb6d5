// The head of a safetensors file, parsed and checked from memory (no file needed: the fuzzer's
// door).
#pragma once

#include <shira/base/dtype.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace shira::detail {

/// The format's own limit on the JSON header.
inline constexpr std::uint64_t kMaxHeaderSize = 100'000'000;

struct HeaderEntry {
  std::string name;
  DType dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin;  // byte range within the data
  std::uint64_t end;
};

struct SafetensorsHeader {
  std::vector<HeaderEntry> tensors;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
  std::size_t data_offset;  // where in the file the data begins
};

/// `file` is the whole file. IoError (which does not know the file's name) unless every byte of the
/// data belongs to exactly one tensor of a supported dtype and a shape of that many bytes.
SafetensorsHeader parse_safetensors(std::span<const std::byte> file);

/// Bytes of a row-major tensor; nothing for a negative dimension, or where the product of the
/// dimensions (zeros left out) and the item size exceeds int64.
std::optional<std::uint64_t> tensor_byte_size(const std::vector<std::int64_t>& shape, DType dtype);

}  // namespace shira::detail
