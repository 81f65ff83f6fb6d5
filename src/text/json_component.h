// An object of a tokenizer.json that knows where it stands, so that every error can name it.
#pragma once

#include <shira/base/error.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace shira {

class JsonComponent {
 public:
  JsonComponent(const nlohmann::json& value, std::string path)
      : value_(&value), path_(std::move(path)) {}

  /// Absent or null.
  bool is_null(const char* key) const {
    const auto found = value_->find(key);
    return found == value_->end() || found->is_null();
  }
  JsonComponent at(const char* key) const {
    require(value_->is_object() && value_->contains(key), detail::concat(key, " is missing"));
    return {(*value_)[key], path_ + "." + key};
  }
  /// The elements of an array.
  std::vector<JsonComponent> list() const {
    require(value_->is_array(), "expected an array");
    std::vector<JsonComponent> elements;
    for (const auto& element : *value_) {
      elements.emplace_back(element, detail::concat(path_, "[", elements.size(), "]"));
    }
    return elements;
  }

  template <typename T>
  T as() const {
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      require(value_->is_number_integer(), "expected an integer");
    }
    try {
      return value_->get<T>();
    } catch (const nlohmann::json::exception&) {
      fail("has the wrong type");
    }
  }
  template <typename T>
  T get(const char* key) const {
    return at(key).as<T>();
  }
  template <typename T>
  T get(const char* key, T fallback) const {
    return is_null(key) ? fallback : get<T>(key);
  }

  /// The entry of `table` for `type` (this object's "type", where none is given).
  template <typename T>
  const T& choose(const std::map<std::string, T>& table, const std::string& type) const {
    const auto found = table.find(type);
    if (found != table.end()) return found->second;
    std::string known;
    for (const auto& [name, entry] : table) known += (known.empty() ? "" : ", ") + name;
    fail("'" + type + "' is not supported. Supported: " + known);
  }
  template <typename T>
  const T& choose(const std::map<std::string, T>& table) const {
    require(value_->is_object(), "expected an object");
    return choose(table, get<std::string>("type"));
  }

  void require(bool condition, const std::string& otherwise) const {
    if (!condition) fail(otherwise);
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw IoError(path_ + ": " + what + ".");
  }
  const nlohmann::json& json() const { return *value_; }

 private:
  const nlohmann::json* value_;
  std::string path_;
};

}  // namespace shira
