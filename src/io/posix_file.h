// The few POSIX calls under io: interrupted and short calls are continued, failures become IoError.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>

namespace shira::detail {

/// Owns an open file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;

  int get() const { return value_; }

 private:
  int value_;
};

/// "Permission denied", ... for the current errno.
std::string system_error_text();

/// open(2) with close-on-exec; -1 and errno on failure.
int open_file(const std::filesystem::path& path, int flags, unsigned mode = 0);

Descriptor open_for_reading(const std::filesystem::path& path);
/// Up to `size` bytes more; how many, 0 at the end of the file.
std::size_t read_some(const Descriptor& file, void* data, std::size_t size,
                      const std::filesystem::path& path);
void write_all(int descriptor, const void* data, std::size_t size,
               const std::filesystem::path& path);
void sync(int descriptor, const std::filesystem::path& path);

/// Syncs a file, or a directory's list of names.
void sync_path(const std::filesystem::path& path);

/// The directory that holds `path`: "." for a bare name.
std::filesystem::path parent_directory(const std::filesystem::path& path);

/// A name beside `path` that no other process uses: "<name>.<pid>-<random>.tmp".
std::filesystem::path temporary_sibling(const std::filesystem::path& path);

}  // namespace shira::detail
