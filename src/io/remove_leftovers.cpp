// The counterpart of detail::temporary_sibling: knows its names, asks whether their process lives.
#include <shira/io/atomic_file.h>

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>

namespace shira {
namespace {

namespace fs = std::filesystem;

/// "<target>.<pid>-<random>.tmp", taken apart.
struct TemporaryName {
  std::string_view target;
  pid_t owner = 0;  // 0: some other name
};

TemporaryName parse_temporary_name(std::string_view name) {
  constexpr std::string_view kSuffix = ".tmp";
  if (!name.ends_with(kSuffix)) return {};
  name.remove_suffix(kSuffix.size());
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return {};
  const char* end = name.data() + name.size();
  pid_t owner = 0;
  std::uint32_t random = 0;
  const auto [dash, bad_owner] = std::from_chars(name.data() + dot + 1, end, owner);
  if (bad_owner != std::errc{} || owner <= 0 || dash == end || *dash != '-') return {};
  const auto [stop, bad_random] = std::from_chars(dash + 1, end, random);
  if (bad_random != std::errc{} || stop != end) return {};
  return {name.substr(0, dot), owner};
}

bool is_gone(pid_t process) { return ::kill(process, 0) != 0 && errno == ESRCH; }

}  // namespace

void remove_leftovers(const fs::path& directory, std::string_view target) {
  for (const fs::directory_entry& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    const TemporaryName temporary = parse_temporary_name(name);
    const bool meant = target.empty() || temporary.target == target;
    // In a container every run may have the same process id: an earlier owner of ours is gone.
    const bool was_ours = target.empty() && temporary.owner == ::getpid();
    if (temporary.owner == 0 || !meant || !(was_ours || is_gone(temporary.owner))) continue;
    std::error_code ignored;
    fs::remove_all(entry.path(), ignored);
  }
}

}  // namespace shira
