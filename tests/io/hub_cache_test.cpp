#include "expect_error.h"
#include "temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/hub_cache.h>

#include <gtest/gtest.h>
#include <stdlib.h>

#include <map>
#include <optional>

namespace shira {
namespace {

namespace fs = std::filesystem;

/// The environment with none of the variables that place the cache; put back at the end.
class HubCacheTest : public testing::Test {
 protected:
  HubCacheTest() {
    for (const char* name : {"HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}) {
      const char* value = ::getenv(name);
      old_[name] = value == nullptr ? std::nullopt : std::optional<std::string>(value);
      ::unsetenv(name);
    }
  }
  ~HubCacheTest() override {
    for (const auto& [name, value] : old_) {
      if (value) {
        ::setenv(name.c_str(), value->c_str(), 1);
      } else {
        ::unsetenv(name.c_str());
      }
    }
  }

  static void set(const char* name, const fs::path& value) { ::setenv(name, value.c_str(), 1); }

  /// A downloaded model; returns its snapshot.
  static fs::path add_model(const fs::path& cache, const std::string& folder) {
    const fs::path snapshot = cache / folder / "snapshots" / "0a1b";
    fs::create_directories(snapshot);
    fs::create_directories(cache / folder / "refs");
    write_file(snapshot / "config.json", "{}");
    write_file(cache / folder / "refs" / "main", "0a1b");
    return snapshot;
  }

  TemporaryDirectory directory_;

 private:
  std::map<std::string, std::optional<std::string>> old_;
};

TEST_F(HubCacheTest, AnExistingDirectoryIsReturnedAsItIs) {
  const std::string name = directory_.path().string() + "/";
  EXPECT_EQ(resolve_base_model(name), name);
}

TEST_F(HubCacheTest, OrgAndNameMeanTheSnapshotOfMain) {
  set("HF_HOME", directory_.path());
  const fs::path snapshot = add_model(directory_ / "hub", "models--TinyLlama--TinyLlama-1.1B_v1.0");
  EXPECT_EQ(resolve_base_model("TinyLlama/TinyLlama-1.1B_v1.0"), snapshot);
}

// https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
TEST_F(HubCacheTest, TheFirstVariableThatIsSetPlacesTheCache) {
  const auto expect_cache = [&](const char* variable, const fs::path& value, const fs::path& hub) {
    set(variable, value);
    const fs::path snapshot = add_model(hub, "models--org--name");
    EXPECT_EQ(resolve_base_model("org/name"), snapshot) << variable;
  };
  expect_cache("HOME", directory_ / "home", directory_ / "home/.cache/huggingface/hub");
  expect_cache("XDG_CACHE_HOME", directory_ / "xdg", directory_ / "xdg/huggingface/hub");
  expect_cache("HF_HOME", directory_ / "hf", directory_ / "hf/hub");
  expect_cache("HF_HUB_CACHE", directory_ / "cache", directory_ / "cache");
}

TEST_F(HubCacheTest, AModelThatIsNotThereGetsItsDownloadCommand) {
  set("HF_HUB_CACHE", directory_.path());
  expect_error<IoError>([] { resolve_base_model("org/name"); },
                        {"models--org--name", directory_.path().c_str(), "hf download org/name"});
}

TEST_F(HubCacheTest, ASnapshotWithoutConfigIsIncomplete) {
  set("HF_HUB_CACHE", directory_.path());
  fs::remove(add_model(directory_.path(), "models--org--name") / "config.json");
  expect_error<IoError>([] { resolve_base_model("org/name"); },
                        {"incomplete", "no config.json", "hf download org/name"});
}

TEST_F(HubCacheTest, ARefCannotLeadOutOfTheSnapshots) {
  set("HF_HUB_CACHE", directory_.path());
  add_model(directory_.path(), "models--org--name");
  write_file(directory_ / "config.json", "{}");
  for (const std::string commit :
       {"../../..", "/etc", ".", "..", "", "0a1b/", "0a1b\n\n", "a\x1b[m"}) {
    write_file(directory_ / "models--org--name/refs/main", commit);
    expect_error<IoError>([] { resolve_base_model("org/name"); }, {"refs/main", "damaged"});
  }
}

TEST_F(HubCacheTest, OtherNamesAreDirectoriesThatAreMissing) {
  const std::string long_name = "org/" + std::string(5000, 'a');
  for (const std::string name : {"", "name", "/org/name", "a/b/c", "org/..", "org/.name", "../name",
                                 "org/a--b", "org/na me", "org/", "org/a..b", "org/\x1b[m"}) {
    expect_error<IoError>([&] { resolve_base_model(name); }, {"no such directory", "org/name"});
  }
  expect_error<IoError>([&] { resolve_base_model(long_name); }, {"no such directory"});
}

TEST_F(HubCacheTest, AFileIsNoBaseModel) {
  write_file(directory_ / "model.safetensors", "");
  expect_error<IoError>([&] { resolve_base_model(directory_ / "model.safetensors"); },
                        {"model.safetensors", "is a file"});
}

}  // namespace
}  // namespace shira
