// One run a directory.
#pragma once

#include <shira/base/export.h>

#include <filesystem>

namespace shira {

/// Keeps a directory for this process until it goes out of scope, or the process ends in any way.
/// No file is left behind: the directory itself is locked (flock).
class SHIRA_API DirectoryLock {
 public:
  /// IoError when another process, or another lock of this one, holds it.
  explicit DirectoryLock(const std::filesystem::path& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int descriptor_;
};

/// ConfigError, naming `key`, unless `directory` is one that can be written to, or can be made.
SHIRA_API void check_output_directory(const char* key, const std::filesystem::path& directory);

}  // namespace shira
