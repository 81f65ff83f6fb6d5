// Files that are complete or absent: written under a temporary name beside their own, synced, then
// renamed. A crash leaves the old file or the new one.
#pragma once

#include <shira/base/export.h>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace shira {

/// A file being written. Until commit() only a temporary file exists, which the destructor removes.
class SHIRA_API AtomicFile {
 public:
  /// Creates the temporary file in the directory of `path` (which must exist); IoError otherwise.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Appends bytes; IoError (full disk, ...) names the file.
  void write(const void* data, std::size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }

  /// Syncs, renames to the final name and syncs the directory.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

/// Writes a whole small file atomically.
SHIRA_API void write_file(const std::filesystem::path& path, std::string_view content);

/// Reads a whole small file; IoError when it is missing.
SHIRA_API std::string read_file(const std::filesystem::path& path);

/// Makes a directory that is complete or absent: `fill` writes into a temporary sibling, which is
/// synced and then renamed to `path` (an existing directory of that name is replaced). If `fill`
/// throws, the temporary directory is removed and nothing else has changed.
SHIRA_API void write_directory(const std::filesystem::path& path,
                               const std::function<void(const std::filesystem::path&)>& fill);

/// Removes the temporary files and directories that killed processes left in `directory`: those of
/// one target, or all of them (then this process must be writing none there). Those of another
/// process that is alive stay. Processes of other machines and containers look dead: name the
/// target unless the directory belongs to one run.
SHIRA_API void remove_leftovers(const std::filesystem::path& directory,
                                std::string_view target = {});

}  // namespace shira
