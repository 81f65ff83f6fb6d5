// Layout of the cache: huggingface.co/docs/huggingface_hub/guides/manage-cache. Its files come from
// elsewhere: what refs/main holds must not lead out of the snapshots.
#include "quote.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/hub_cache.h>

#include <algorithm>
#include <cstdlib>

namespace shira {
namespace {

namespace fs = std::filesystem;

bool is_word(char c) {
  return ('a' <= c && c <= 'z') || ('A' <= c && c <= 'Z') || ('0' <= c && c <= '9') || c == '_';
}

/// One half of `org/name`, by the hub's rules.
bool is_repository_part(const std::string& part) {
  const auto allowed = [](char c) { return is_word(c) || c == '-' || c == '.'; };
  return !part.empty() && part.size() <= 96 && is_word(part.front()) && is_word(part.back()) &&
         std::all_of(part.begin(), part.end(), allowed) && part.find("--") == std::string::npos &&
         part.find("..") == std::string::npos;
}

bool is_repository(const std::string& name) {
  const std::size_t slash = name.find('/');
  return slash != std::string::npos && is_repository_part(name.substr(0, slash)) &&
         is_repository_part(name.substr(slash + 1));
}

/// The variable's value; nothing when it is not set or empty.
fs::path environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

fs::path cache_directory() {
  if (const fs::path cache = environment("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (const fs::path home = environment("HF_HOME"); !home.empty()) return home / "hub";
  const fs::path user_cache = environment("XDG_CACHE_HOME");
  const fs::path base = user_cache.empty() ? environment("HOME") / ".cache" : user_cache;
  return base / "huggingface" / "hub";
}

/// The commit that `main` is at; IoError when the file holds anything but a plain name.
std::string commit_of_main(const fs::path& ref) {
  std::string commit = read_file(ref);
  if (commit.ends_with('\n')) commit.pop_back();  // as an editor leaves it
  const bool plain =
      !commit.empty() && commit.size() <= 64 && std::all_of(commit.begin(), commit.end(), is_word);
  SHIRA_CHECK(IoError, plain, ref, ": damaged: got ", detail::quote(commit),
              ", expected the name of a commit");
  return commit;
}

fs::path snapshot_of(const std::string& repository) {
  const std::size_t slash = repository.find('/');
  const fs::path model = cache_directory() / ("models--" + repository.substr(0, slash) + "--" +
                                              repository.substr(slash + 1));
  const std::string download = "; to download it: hf download " + repository;
  const fs::path ref = model / "refs" / "main";
  SHIRA_CHECK(IoError, fs::is_regular_file(ref), repository,
              ": neither a directory nor in the HuggingFace cache (looked for ", model, ")",
              download);
  const fs::path snapshot = model / "snapshots" / commit_of_main(ref);
  SHIRA_CHECK(IoError, fs::is_regular_file(snapshot / "config.json"), repository,
              ": its download is incomplete: ", snapshot, " has no config.json", download);
  return snapshot;
}

}  // namespace

fs::path resolve_base_model(const std::string& name) {
  std::error_code unusable;  // too long, not to be read, ...: not there
  if (fs::is_directory(name, unusable)) return name;
  SHIRA_CHECK(IoError, !fs::exists(name, unusable), detail::quote(name),
              ": is a file, expected a checkpoint directory or org/name on the HuggingFace hub");
  SHIRA_CHECK(IoError, is_repository(name), detail::quote(name),
              ": no such directory; a model of the HuggingFace hub is given as org/name");
  return snapshot_of(name);
}

}  // namespace shira
