// write_directory of atomic_file.h. An existing directory is exchanged with the new one in a single
// step where the file system can do that (renameat2), by two renames elsewhere.
#include "posix_file.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>

#include <fcntl.h>
#include <stdio.h>

namespace shira {
namespace {

namespace fs = std::filesystem;

/// Removes the directory of this name, if any, when it goes out of scope.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(fs::path path) : path_(std::move(path)) {
    std::error_code error;
    SHIRA_CHECK(IoError, fs::create_directory(path_, error), path_,
                ": cannot be created: ", error.message());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void sync_tree(const fs::path& directory) {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_symlink() || !(entry.is_regular_file() || entry.is_directory())) continue;
    detail::sync_path(entry.path());
  }
  detail::sync_path(directory);
}

void rename_checked(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  SHIRA_CHECK(IoError, !error, to, ": cannot be put in place: ", error.message());
}

bool exchange(const fs::path& a, const fs::path& b) {
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
}

/// Puts `fresh` at `path`; a directory that was there ends up under the name `fresh`.
void replace_directory(const fs::path& fresh, const fs::path& path) {
  if (!fs::exists(path)) return rename_checked(fresh, path);
  if (exchange(fresh, path)) return;
  fs::path aside = fresh;
  aside.replace_extension(".old");  // not .tmp: after a crash here it is the only copy
  rename_checked(path, aside);
  try {
    rename_checked(fresh, path);
  } catch (...) {
    fs::rename(aside, path);
    throw;
  }
  rename_checked(aside, fresh);
}

/// Without a trailing slash; an existing link is followed, so that its target is replaced.
fs::path normalized(const fs::path& path) {
  if (fs::exists(path)) return fs::canonical(path);
  return path.has_filename() ? path : path.parent_path();
}

}  // namespace

void write_directory(const fs::path& path, const std::function<void(const fs::path&)>& fill) {
  const fs::path target = normalized(path);
  SHIRA_CHECK(IoError, !target.empty() && (!fs::exists(target) || fs::is_directory(target)), path,
              ": is a file, expected a directory to replace or a new name");
  const fs::path parent = detail::parent_directory(target);
  SHIRA_CHECK(IoError, fs::is_directory(parent), parent, ": no such directory, needed to write ",
              path);
  remove_leftovers(parent, target.filename().native());
  const TemporaryDirectory temporary(detail::temporary_sibling(target));
  fill(temporary.path());
  sync_tree(temporary.path());
  replace_directory(temporary.path(), target);
  detail::sync_path(parent);
}

}  // namespace shira
