// Wire format: protobuf.dev/programming-guides/encoding. Field numbers: event.proto, summary.proto,
// tensor.proto, tensor_shape.proto and types.proto of tensorflow/core.
#include "event_encoding.h"

#include "crc32c.h"

#include <bit>

namespace shira::detail {
namespace {

template <typename Unsigned>
std::string little_endian(Unsigned value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof(value); ++i) {
    bytes += static_cast<char>((value >> (8 * i)) & 0xff);
  }
  return bytes;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}

enum class WireType : std::uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

std::string key(std::uint64_t field, WireType type) {
  return varint(field << 3 | static_cast<std::uint64_t>(type));
}

std::string integer_field(std::uint64_t field, std::int64_t value) {
  return key(field, WireType::kVarint) + varint(static_cast<std::uint64_t>(value));
}

std::string double_field(std::uint64_t field, double value) {
  return key(field, WireType::kFixed64) + little_endian(std::bit_cast<std::uint64_t>(value));
}

std::string float_field(std::uint64_t field, float value) {
  return key(field, WireType::kFixed32) + little_endian(std::bit_cast<std::uint32_t>(value));
}

/// A string or a message.
std::string bytes_field(std::uint64_t field, std::string_view value) {
  return key(field, WireType::kBytes) + varint(value.size()) + std::string(value);
}

/// Event.wall_time and Event.step
std::string event_head(double wall_time, std::int64_t step) {
  return double_field(1, wall_time) + integer_field(2, step);
}

/// Event.summary with one Summary.value
std::string summary_of(const std::string& value) { return bytes_field(5, bytes_field(1, value)); }

/// The TensorProto of a vector of one string.
std::string string_tensor(std::string_view text) {
  constexpr std::int64_t kDtString = 7;
  const std::string shape = bytes_field(2, integer_field(1, 1));  // dim.size
  return integer_field(1, kDtString) + bytes_field(2, shape) + bytes_field(8, text);
}

/// As TFRecord stores checksums: "masked", because a checksum of data with checksums is weak.
std::string masked_crc32c(std::string_view bytes) {
  return little_endian(std::rotr(crc32c(bytes), 15) + 0xa282ead8U);
}

}  // namespace

std::string version_event(double wall_time) {
  return double_field(1, wall_time) + bytes_field(3, "brain.Event:2");
}

std::string scalar_event(double wall_time, std::int64_t step, std::string_view tag, float value) {
  return event_head(wall_time, step) + summary_of(bytes_field(1, tag) + float_field(2, value));
}

std::string text_event(double wall_time, std::int64_t step, std::string_view tag,
                       std::string_view text) {
  const std::string plugin = bytes_field(1, bytes_field(1, "text"));  // plugin_data.plugin_name
  return event_head(wall_time, step) +
         summary_of(bytes_field(1, tag) + bytes_field(8, string_tensor(text)) +
                    bytes_field(9, plugin));
}

std::string restart_event(double wall_time, std::int64_t step) {
  constexpr std::int64_t kStart = 1;
  return event_head(wall_time, step) + bytes_field(7, integer_field(1, kStart));
}

std::string tf_record(std::string_view data) {
  const std::string length = little_endian(static_cast<std::uint64_t>(data.size()));
  return length + masked_crc32c(length) + std::string(data) + masked_crc32c(data);
}

}  // namespace shira::detail
