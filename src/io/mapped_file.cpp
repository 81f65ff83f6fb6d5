// open, fstat, mmap.
#include "mapped_file.h"

#include "posix_file.h"

#include <shira/base/error.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace shira::detail {
namespace {

/// The size of an open regular file.
std::size_t regular_file_size(int descriptor, const std::filesystem::path& path) {
  struct stat status{};
  SHIRA_CHECK(IoError, ::fstat(descriptor, &status) == 0, path, ": ", system_error_text());
  SHIRA_CHECK(IoError, S_ISREG(status.st_mode), path, ": is not a regular file",
              S_ISDIR(status.st_mode) ? " but a directory" : "");
  return static_cast<std::size_t>(status.st_size);
}

}  // namespace

MappedFile map_file(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a named pipe must fail below, not wait for a writer.
  const Descriptor file(open_file(path, O_RDONLY | O_NONBLOCK));
  SHIRA_CHECK(IoError, file.get() >= 0, path, ": cannot be opened: ", system_error_text());
  const std::size_t size = regular_file_size(file.get(), path);
  if (size == 0) return {};
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  SHIRA_CHECK(IoError, address != MAP_FAILED, path, ": cannot be mapped: ", system_error_text());
  const auto unmap = [size](const void* mapped) { ::munmap(const_cast<void*>(mapped), size); };
  return {std::shared_ptr<const void>(address, unmap),
          {static_cast<const std::byte*>(address), size}};
}

}  // namespace shira::detail
