// Reading a model's JSON configuration: every problem is collected, so that one error lists all.
#pragma once

#include "io/json_object.h"

#include <shira/base/error.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

namespace shira::detail {

/// Reads keys of one JSON object and collects what is wrong with them.
class JsonConfig {
 public:
  explicit JsonConfig(const nlohmann::json& object) : object_(object) {}

  /// The value of `key`, or `fallback` where it is absent or null.
  template <typename T>
  T get(const char* key, T fallback) {
    if (!has(key)) return fallback;
    if (is_of_type<T>(object_[key])) return object_[key].get<T>();
    problem(key, "has the wrong type");
    return fallback;
  }

  template <typename T>
  T require(const char* key, T placeholder) {
    if (!has(key)) problems_.push_back(std::string(key) + ": missing");
    return get(key, placeholder);
  }

  std::int64_t require_size(const char* key) {
    return checked_size(key, require<std::int64_t>(key, 1));
  }
  std::int64_t get_size(const char* key, std::int64_t fallback) {
    return checked_size(key, get(key, fallback));
  }

  void expect(bool condition, const char* key, const std::string& what) {
    if (!condition) problem(key, what);
  }

  /// A problem for each key that is not among `known`, but for nulls and diffusers' "_..." ones.
  void refuse_unknown(const std::set<std::string>& known) {
    for (const auto& [key, value] : object_.items()) {
      const bool is_known = key.starts_with("_") || value.is_null() || known.contains(key);
      expect(is_known, key.c_str(), "unknown key");
    }
  }

  bool has(const char* key) const { return object_.contains(key) && !object_[key].is_null(); }
  const nlohmann::json& at(const char* key) const { return object_[key]; }
  const nlohmann::json& object() const { return object_; }
  std::vector<std::string>& problems() { return problems_; }

  /// ConfigError with all problems of `path`, if there are any.
  void check(const std::filesystem::path& path) const {
    std::string list;
    for (const std::string& text : problems_) list += "\n  " + text;
    SHIRA_CHECK(ConfigError, list.empty(), path.string(),
                ": not a model that this version can run:", list);
  }

 private:
  template <typename T>
  static bool is_of_type(const nlohmann::json& value) {
    if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
    if constexpr (std::is_same_v<T, std::string>) return value.is_string();
    if constexpr (std::is_integral_v<T>) return value.is_number_integer();
    return value.is_number();
  }

  /// At least 1: what follows divides by it.
  std::int64_t checked_size(const char* key, std::int64_t size) {
    expect(size >= 1 && size <= (1 << 24), key, "expected a size between 1 and 2^24");
    return std::max<std::int64_t>(size, 1);
  }

  void problem(const char* key, const std::string& what) {
    std::string value =
        object_.contains(key)
            ? object_[key].dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
            : "nothing";
    if (value.size() > 80) value.replace(77, std::string::npos, "...");
    problems_.push_back(std::string(key) + ": " + what + ". Got " + value);
  }

  const nlohmann::json& object_;
  std::vector<std::string> problems_;
};

}  // namespace shira::detail
