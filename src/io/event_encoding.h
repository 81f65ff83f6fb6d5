// The bytes of TensorBoard events and of the records around them. The protocol buffers are encoded
// by hand: the protobuf library would be megabytes, and a code generator in the build, for the
// dozen fields that are written here and never read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace shira::detail {

// Messages of type Event (tensorflow/core/util/event.proto).
std::string version_event(double wall_time);
std::string scalar_event(double wall_time, std::int64_t step, std::string_view tag, float value);
std::string text_event(double wall_time, std::int64_t step, std::string_view tag,
                       std::string_view text);
std::string restart_event(double wall_time, std::int64_t step);

/// A TFRecord: length, its checksum, data, their checksum (tensorflow/core/lib/io/record_writer.h).
std::string tf_record(std::string_view data);

}  // namespace shira::detail
