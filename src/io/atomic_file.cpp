// The order that survives a crash: write, fsync the file, rename, fsync the directory.
#include "posix_file.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace shira {

namespace {

namespace fs = std::filesystem;

/// What a link leads to: the file behind it is replaced, not the link.
fs::path behind_links(fs::path path) {
  std::error_code error;
  const fs::path target = fs::is_symlink(path, error) ? fs::canonical(path, error) : path;
  return error ? path : target;
}

}  // namespace

AtomicFile::AtomicFile(fs::path path)
    : path_(behind_links(std::move(path))), temporary_(detail::temporary_sibling(path_)) {
  SHIRA_CHECK(IoError, path_.has_filename() && !std::filesystem::is_directory(path_), path_,
              ": is a directory, expected the name of a file to write");
  SHIRA_CHECK(IoError, !fs::exists(path_) || fs::is_regular_file(path_), path_,
              ": is a device or a pipe, expected the name of a file to write");
  // 0666 less the umask: what any program's new file gets (mkstemp would make it private).
  descriptor_ = detail::open_file(temporary_, O_WRONLY | O_CREAT | O_EXCL, 0666);
  SHIRA_CHECK(IoError, descriptor_ >= 0, path_,
              ": cannot be created: ", detail::system_error_text(),
              "; its directory must exist and be writable");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, std::size_t size) {
  SHIRA_CHECK(IoError, descriptor_ >= 0, path_, ": written to after commit()");
  detail::write_all(descriptor_, data, size, path_);
}

void AtomicFile::commit() {
  SHIRA_CHECK(IoError, descriptor_ >= 0, path_, ": committed twice");
  detail::sync(descriptor_, path_);
  ::close(std::exchange(descriptor_, -1));
  SHIRA_CHECK(IoError, ::rename(temporary_.c_str(), path_.c_str()) == 0, path_,
              ": cannot be replaced: ", detail::system_error_text());
  temporary_.clear();
  detail::sync_path(detail::parent_directory(path_));
}

void write_file(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

std::string read_file(const std::filesystem::path& path) {
  const detail::Descriptor file = detail::open_for_reading(path);
  std::string content;
  std::array<char, 1 << 16> chunk;
  while (const auto size = detail::read_some(file, chunk.data(), chunk.size(), path)) {
    content.append(chunk.data(), size);
  }
  return content;
}

}  // namespace shira
