// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace shira::detail {

struct MappedFile {
  std::shared_ptr<const void> mapping;  // null for an empty file
  std::span<const std::byte> bytes;     // valid as long as `mapping` lives
};

/// Maps a regular file; IoError when it is missing or something else. A file that another process
/// truncates meanwhile raises SIGBUS on access: replace checkpoints, do not rewrite them in place.
MappedFile map_file(const std::filesystem::path& path);

}  // namespace shira::detail
