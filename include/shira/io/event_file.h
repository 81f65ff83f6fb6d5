// TensorBoard event files: what `tensorboard --logdir` shows of a run, while it runs.
// Format: TFRecord framing around Event messages (tensorflow/core/util/event.proto).
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace shira {

namespace detail {
class Descriptor;
}

/// One process's part of a run's log. A resumed run adds a file of its own to the same directory.
class SHIRA_API EventFile {
 public:
  /// Creates `events.out.tfevents.<seconds>.<host>.<pid>` in `directory`, which is made when
  /// missing. Its name sorts behind those of the event files there: TensorBoard reads by name.
  /// IoError (here and below) when it cannot be written.
  explicit EventFile(const std::filesystem::path& directory);
  ~EventFile();
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// Seconds since 1970, the time of an event.
  static double now();

  /// A point of the curve `tag`; stored as float32.
  void scalar(std::string_view tag, std::int64_t step, double value, double wall_time = now());

  /// A text (Markdown) for the text tab.
  void text(std::string_view tag, std::int64_t step, std::string_view text);

  /// Makes TensorBoard forget what earlier files of this directory say about `step` and later ones:
  /// a killed run may have logged more than its last checkpoint has.
  void restart_at(std::int64_t step);

 private:
  void write(const std::string& event);

  std::filesystem::path path_;
  std::unique_ptr<detail::Descriptor> file_;
};

}  // namespace shira
