// File systems without flock are taken as unlocked: the lock is a courtesy to the user.
#include <shira/base/error.h>
#include <shira/io/directory_lock.h>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace shira {

DirectoryLock::DirectoryLock(const std::filesystem::path& directory)
    : descriptor_(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  if (descriptor_ < 0 || ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {
    return;
  }
  ::close(descriptor_);
  throw IoError(directory.string() +
                ": another run is writing there. Wait for its end, or give another directory.");
}

DirectoryLock::~DirectoryLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void check_output_directory(const char* key, const std::filesystem::path& directory) {
  std::filesystem::path there = std::filesystem::absolute(directory).lexically_normal();
  while (!std::filesystem::exists(there) && there.has_relative_path()) there = there.parent_path();
  SHIRA_CHECK(ConfigError, std::filesystem::is_directory(there), key, " ", directory.string(), ": ",
              there.string(), " is a file. Give another directory.");
  SHIRA_CHECK(ConfigError, ::access(there.c_str(), W_OK | X_OK) == 0, key, " ", directory.string(),
              ": ", there.string(), " cannot be written: ", std::strerror(errno), ".");
}

}  // namespace shira
