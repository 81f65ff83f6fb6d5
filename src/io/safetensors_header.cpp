// From bytes to text, to JSON, to entries, to a layout without gaps: every step trusts only the one
// before it.
#include "safetensors_header.h"

#include "quote.h"
#include "strict_json.h"

#include <shira/base/error.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>
#include <tuple>

namespace shira::detail {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxInt64 = std::numeric_limits<std::int64_t>::max();

/// The JSON text between the length and the data.
std::string_view header_text(std::span<const std::byte> file) {
  static_assert(std::endian::native == std::endian::little, "the format is little-endian");
  std::uint64_t length = 0;
  SHIRA_CHECK(IoError, file.size() >= sizeof(length), "has ", file.size(),
              " bytes, a safetensors file has at least 8");
  std::memcpy(&length, file.data(), sizeof(length));
  SHIRA_CHECK(IoError, length <= kMaxHeaderSize, "claims a header of ", length, " bytes, at most ",
              kMaxHeaderSize, " are allowed: probably not a safetensors file");
  SHIRA_CHECK(IoError, length <= file.size() - sizeof(length), "claims a header of ", length,
              " bytes, but only ", file.size() - sizeof(length),
              " follow: is the download incomplete?");
  return {reinterpret_cast<const char*>(file.data()) + sizeof(length), length};
}

DType parse_entry_dtype(const json& value) {
  SHIRA_CHECK(IoError, value.is_string(), "its dtype is not a string");
  const auto& name = value.get_ref<const std::string&>();
  const std::optional<DType> dtype = parse_dtype(name);
  SHIRA_CHECK(IoError, dtype, "its dtype ", quote(name),
              " is not supported; F64 to F8, I64 to U8, C64 and BOOL are");
  return *dtype;
}

std::uint64_t parse_count(const json& value, std::string_view what) {
  SHIRA_CHECK(IoError, value.is_number_unsigned() && value.get<std::uint64_t>() <= kMaxInt64,
              "its ", what, " must be whole numbers from 0 to 2^63 - 1");
  return value.get<std::uint64_t>();
}

std::vector<std::int64_t> parse_shape(const json& value) {
  SHIRA_CHECK(IoError, value.is_array(), "its shape is not a list");
  std::vector<std::int64_t> shape;
  for (const json& dimension : value) {
    shape.push_back(static_cast<std::int64_t>(parse_count(dimension, "dimensions")));
  }
  return shape;
}

HeaderEntry parse_entry(const std::string& name, const json& value) {
  SHIRA_CHECK(IoError,
              value.is_object() && value.size() == 3 && value.contains("dtype") &&
                  value.contains("shape") && value.contains("data_offsets"),
              "its entry must have dtype, shape and data_offsets, and nothing else");
  const json& offsets = value["data_offsets"];
  SHIRA_CHECK(IoError, offsets.is_array() && offsets.size() == 2,
              "its data_offsets must be a list of two numbers");
  return {name, parse_entry_dtype(value["dtype"]), parse_shape(value["shape"]),
          parse_count(offsets[0], "data_offsets"), parse_count(offsets[1], "data_offsets")};
}

void check_range(const HeaderEntry& entry, std::uint64_t data_size) {
  SHIRA_CHECK(IoError, entry.begin <= entry.end, "its bytes begin at ", entry.begin,
              " and end before that, at ", entry.end);
  SHIRA_CHECK(IoError, entry.end <= data_size, "its bytes end at ", entry.end,
              ", but the file has only ", data_size, " bytes of data: is the download incomplete?");
  const auto expected = tensor_byte_size(entry.shape, entry.dtype);
  SHIRA_CHECK(IoError, expected, "its shape has more bytes than fit into 63 bits");
  SHIRA_CHECK(IoError, entry.end - entry.begin == *expected, "its byte range has ",
              entry.end - entry.begin, " bytes, its shape and dtype need ", *expected);
}

HeaderEntry parse_checked_entry(const std::string& name, const json& value,
                                std::uint64_t data_size) {
  try {
    HeaderEntry entry = parse_entry(name, value);
    check_range(entry, data_size);
    return entry;
  } catch (const IoError& error) {
    throw IoError(concat("tensor ", quote(name), ": ", error.what()));
  }
}

std::map<std::string, std::string> parse_metadata(const json& value) {
  SHIRA_CHECK(IoError, value.is_object(), "\"__metadata__\" is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    SHIRA_CHECK(IoError, text.is_string(), "\"__metadata__\": the value of ", quote(key),
                " is not a string");
    metadata.emplace(key, text.get<std::string>());
  }
  return metadata;
}

/// Sorts by place and demands that the tensors follow each other without a gap.
void check_layout(std::vector<HeaderEntry>& tensors, std::uint64_t data_size) {
  std::sort(tensors.begin(), tensors.end(), [](const HeaderEntry& a, const HeaderEntry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  std::uint64_t position = 0;
  for (const HeaderEntry& entry : tensors) {
    SHIRA_CHECK(IoError, entry.begin >= position, "tensor ", quote(entry.name),
                ": its bytes begin at ", entry.begin,
                ", inside the tensor before it, which ends at ", position);
    SHIRA_CHECK(IoError, entry.begin == position, "tensor ", quote(entry.name),
                ": its bytes begin at ", entry.begin, ", but the bytes from ", position,
                " on belong to no tensor");
    position = entry.end;
  }
  SHIRA_CHECK(IoError, position == data_size, "has ", data_size - position,
              " bytes after its last tensor that belong to none");
}

}  // namespace

std::optional<std::uint64_t> tensor_byte_size(const std::vector<std::int64_t>& shape, DType dtype) {
  std::int64_t bytes = static_cast<std::int64_t>(item_size(dtype));
  for (const std::int64_t dimension : shape) {
    if (dimension < 0) return std::nullopt;
    if (dimension > 0 && __builtin_mul_overflow(bytes, dimension, &bytes)) return std::nullopt;
  }
  const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  return empty ? 0 : static_cast<std::uint64_t>(bytes);
}

SafetensorsHeader parse_safetensors(std::span<const std::byte> file) {
  const std::string_view text = header_text(file);
  SHIRA_CHECK(IoError, text.starts_with('{'), "its header is not a JSON object");
  const json root = parse_strict_json(text);
  SafetensorsHeader header{{}, {}, sizeof(std::uint64_t) + text.size()};
  const std::uint64_t data_size = file.size() - header.data_offset;
  for (const auto& [name, value] : root.items()) {
    if (name == "__metadata__") {
      header.metadata = parse_metadata(value);
    } else {
      header.tensors.push_back(parse_checked_entry(name, value, data_size));
    }
  }
  check_layout(header.tensors, data_size);
  return header;
}

}  // namespace shira::detail
