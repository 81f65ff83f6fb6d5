// A record is one write(2), unbuffered: a reader sees it at once, and whole.
#include "event_encoding.h"
#include "posix_file.h"

#include <shira/base/error.h>
#include <shira/io/event_file.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

namespace shira {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "events.out.tfevents.";

std::string host_name() {
  std::array<char, 256> name{};
  const bool known = ::gethostname(name.data(), name.size() - 1) == 0 && name[0] != '\0';
  return known ? name.data() : "localhost";
}

/// The seconds in the name of an event file, which have ten digits until 2286; 0 for other names.
std::int64_t seconds_in(const std::string& name) {
  if (!name.starts_with(kPrefix)) return 0;
  const std::string digits = name.substr(kPrefix.size(), 10);
  std::int64_t seconds = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
  return seconds;
}

/// Now, or later when the directory has a file of this second or of a clock that was ahead.
std::int64_t seconds_behind_others(const fs::path& directory) {
  auto seconds = static_cast<std::int64_t>(EventFile::now());
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    seconds = std::max(seconds, seconds_in(entry.path().filename()) + 1);
  }
  return seconds;
}

fs::path make_path(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  SHIRA_CHECK(IoError, fs::is_directory(directory), directory,
              ": cannot be made: ", error.message());
  return directory / detail::concat(kPrefix, seconds_behind_others(directory), ".", host_name(),
                                    ".", ::getpid());
}

}  // namespace

EventFile::EventFile(const fs::path& directory)
    : path_(make_path(directory)),
      file_(std::make_unique<detail::Descriptor>(
          detail::open_file(path_, O_WRONLY | O_CREAT | O_EXCL, 0666))) {
  SHIRA_CHECK(IoError, file_->get() >= 0, path_,
              ": cannot be created: ", detail::system_error_text());
  write(detail::version_event(now()));
}

EventFile::~EventFile() = default;

double EventFile::now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void EventFile::scalar(std::string_view tag, std::int64_t step, double value, double wall_time) {
  write(detail::scalar_event(wall_time, step, tag, static_cast<float>(value)));
}

void EventFile::text(std::string_view tag, std::int64_t step, std::string_view text) {
  write(detail::text_event(now(), step, tag, text));
}

void EventFile::restart_at(std::int64_t step) {
  // Twice: one of TensorBoard's two readers takes the first one that it sees for the run's start.
  for (int i = 0; i < 2; ++i) write(detail::restart_event(now(), step));
}

void EventFile::write(const std::string& event) {
  const std::string record = detail::tf_record(event);
  detail::write_all(file_->get(), record.data(), record.size(), path_);
}

}  // namespace shira
