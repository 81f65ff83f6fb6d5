// EINTR is retried everywhere but on close(2), where Linux has closed the descriptor already.
#include "posix_file.h"

#include <shira/base/error.h>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>

namespace shira::detail {
namespace {

template <typename Call>
auto retry_interrupted(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

}  // namespace

Descriptor::~Descriptor() {
  if (value_ >= 0) ::close(value_);
}

std::string system_error_text() { return std::strerror(errno); }

int open_file(const std::filesystem::path& path, int flags, unsigned mode) {
  return retry_interrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); });
}

Descriptor open_for_reading(const std::filesystem::path& path) {
  Descriptor file(open_file(path, O_RDONLY));
  SHIRA_CHECK(IoError, file.get() >= 0, path, ": cannot be opened: ", system_error_text());
  return file;
}

std::size_t read_some(const Descriptor& file, void* data, std::size_t size,
                      const std::filesystem::path& path) {
  const auto count = retry_interrupted([&] { return ::read(file.get(), data, size); });
  SHIRA_CHECK(IoError, count >= 0, path, ": cannot be read: ", system_error_text());
  return static_cast<std::size_t>(count);
}

void write_all(int descriptor, const void* data, std::size_t size,
               const std::filesystem::path& path) {
  const auto* next = static_cast<const char*>(data);
  while (size > 0) {
    const auto written = retry_interrupted([&] { return ::write(descriptor, next, size); });
    SHIRA_CHECK(IoError, written >= 0, path, ": writing failed: ", system_error_text());
    next += written;
    size -= static_cast<std::size_t>(written);
  }
}

void sync(int descriptor, const std::filesystem::path& path) {
  const int result = retry_interrupted([&] { return ::fsync(descriptor); });
  // EINVAL: the file system has nothing to sync (some network and FUSE mounts, for directories).
  SHIRA_CHECK(IoError, result == 0 || errno == EINVAL, path,
              ": syncing to disk failed: ", system_error_text());
}

void sync_path(const std::filesystem::path& path) { sync(open_for_reading(path).get(), path); }

std::filesystem::path parent_directory(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : ".";
}

std::filesystem::path temporary_sibling(const std::filesystem::path& path) {
  std::filesystem::path sibling = path;
  sibling += concat(".", ::getpid(), "-", std::random_device{}(), ".tmp");
  return sibling;
}

}  // namespace shira::detail
