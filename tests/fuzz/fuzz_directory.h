// For targets whose readers take paths: a directory of files, rewritten for every input.
#pragma once

#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

/// In memory where the system has /dev/shm; removed at the end of the program.
class FuzzDirectory {
 public:
  FuzzDirectory() {
    const bool has_memory = std::filesystem::is_directory("/dev/shm");
    std::string name = has_memory ? "/dev/shm/shira_fuzz_XXXXXX" : "/tmp/shira_fuzz_XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no directory " + name);
    path_ = name;
  }
  ~FuzzDirectory() { std::filesystem::remove_all(path_); }
  FuzzDirectory(const FuzzDirectory&) = delete;
  FuzzDirectory& operator=(const FuzzDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// Neither atomic nor synced: a run writes many thousands.
  std::filesystem::path write(std::string_view name, std::string_view content) const {
    const std::filesystem::path file = path_ / name;
    std::FILE* out = std::fopen(file.c_str(), "wb");
    if (out == nullptr) throw std::runtime_error("cannot write " + file.string());
    if (!content.empty()) std::fwrite(content.data(), 1, content.size(), out);
    std::fclose(out);
    return file;
  }

 private:
  std::filesystem::path path_;
};

/// An input of several files: they are separated by a line of "=====".
constexpr std::string_view kFuzzSeparator = "\n=====\n";

/// The first part, and what follows the first separator ("" when there is none).
inline std::pair<std::string, std::string> two_parts(const std::uint8_t* data, std::size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.find(kFuzzSeparator);
  if (end == input.npos) return {input, ""};
  return {input.substr(0, end), input.substr(end + kFuzzSeparator.size())};
}

}  // namespace shira
