// config_json_schema: the key table once more. One function a type, as in value_reader.
#include "config_keys.h"

#include <shira/config/config_schema.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

namespace shira {
namespace {

using detail::Allowed;
using detail::Key;
using nlohmann::ordered_json;

// Whole numbers are written without a fraction.
ordered_json number(double value) {
  const bool is_whole = value == std::floor(value) && std::abs(value) < 1e15;
  return is_whole ? ordered_json(static_cast<std::int64_t>(value)) : ordered_json(value);
}

ordered_json number_schema(std::string_view type, const Allowed& allowed) {
  ordered_json schema = {{"type", type}};
  const auto limit = [&](const char* name, const std::optional<double>& value) {
    if (value) schema[name] = number(*value);
  };
  limit("exclusiveMinimum", allowed.above);
  limit("minimum", allowed.at_least);
  limit("exclusiveMaximum", allowed.below);
  limit("maximum", allowed.at_most);
  return schema;
}

ordered_json text_schema() { return {{"type", "string"}, {"minLength", 1}}; }

ordered_json choice_schema(const Allowed& allowed) {
  return {{"type", "string"}, {"enum", allowed.choices}};
}

// --- One a type ---------------------------------------------------------------------------------

ordered_json schema_of(const std::string&, const Allowed& allowed) {
  if (allowed.choices.empty()) return text_schema();
  if (!allowed.or_file) return choice_schema(allowed);
  const ordered_json path = {{"type", "string"}, {"pattern", "[/.]"}};  // as is_mask_file has it
  return {{"anyOf", {choice_schema(allowed), path}}};
}

ordered_json schema_of(bool, const Allowed&) { return {{"type", "boolean"}}; }

ordered_json schema_of(std::int64_t, const Allowed& allowed) {
  return number_schema("integer", allowed);
}

ordered_json schema_of(double, const Allowed& allowed) {
  if (!allowed.whole_from_one) return number_schema("number", allowed);
  Allowed share = allowed, count = allowed;
  share.below = 1;
  count.at_least = 1;
  return {{"anyOf", {number_schema("number", share), number_schema("integer", count)}}};
}

template <typename Value>
ordered_json schema_of(const std::optional<Value>&, const Allowed& allowed) {
  return schema_of(Value{}, allowed);
}

ordered_json schema_of(const std::vector<std::string>&, const Allowed& allowed) {
  const ordered_json item =
      allowed.items.empty() ? text_schema() : choice_schema({.choices = allowed.items});
  const ordered_json list = {{"type", "array"}, {"items", item}, {"minItems", 1}};
  if (allowed.choices.empty()) return list;
  return {{"anyOf", {choice_schema(allowed), list}}};
}

template <typename Struct>
ordered_json object_schema(const std::vector<Key<Struct>>& keys);

ordered_json schema_of(const std::vector<DatasetConfig>&, const Allowed&) {
  return {{"type", "array"}, {"items", object_schema(detail::dataset_keys())}, {"minItems", 1}};
}

// --- Defaults -----------------------------------------------------------------------------------

// Null where the default is nothing.
template <typename Value>
ordered_json default_of(const Value& value, const Allowed&) {
  return value;
}

ordered_json default_of(const std::string& value, const Allowed&) {
  return value.empty() ? ordered_json() : ordered_json(value);
}

ordered_json default_of(double value, const Allowed&) { return number(value); }

template <typename Value>
ordered_json default_of(const std::optional<Value>& value, const Allowed& allowed) {
  return value ? default_of(*value, allowed) : ordered_json();
}

ordered_json default_of(const std::vector<std::string>& values, const Allowed& allowed) {
  if (values.empty()) return {};
  const bool is_word = values.size() == 1 && !allowed.choices.empty();
  return is_word ? ordered_json(values[0]) : ordered_json(values);
}

ordered_json default_of(const std::vector<DatasetConfig>&, const Allowed&) { return {}; }

void allow_null(ordered_json& schema) {
  if (schema.contains("anyOf")) return schema["anyOf"].push_back({{"type", "null"}});
  schema["type"] = {schema["type"], "null"};
  if (schema.contains("enum")) schema["enum"].push_back(nullptr);
}

// --- Objects ------------------------------------------------------------------------------------

template <typename Struct, typename Value>
ordered_json property(const Key<Struct>& key, const Value& value) {
  ordered_json schema = schema_of(value, key.allowed);
  const ordered_json fallback = default_of(value, key.allowed);
  if (fallback.is_null() && !key.required) allow_null(schema);
  if (!fallback.is_null()) schema["default"] = fallback;
  schema["description"] = key.about;
  return schema;
}

template <typename Struct>
ordered_json property(const Key<Struct>& key) {
  const auto describe = [&](auto field) {
    if constexpr (std::is_same_v<decltype(field), detail::Bf16Alias>) {
      return property(key, std::optional<bool>());
    } else {
      return property(key, Struct{}.*field);
    }
  };
  return std::visit(describe, key.field);
}

template <typename Struct>
ordered_json object_schema(const std::vector<Key<Struct>>& keys) {
  ordered_json properties = ordered_json::object(), required = ordered_json::array();
  for (const Key<Struct>& key : keys) {
    properties[std::string(key.name)] = property(key);
    if (key.required) required.push_back(key.name);
  }
  return {{"type", "object"},
          {"properties", properties},
          {"required", required},
          {"additionalProperties", false}};
}

}  // namespace

std::string config_json_schema() {
  ordered_json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                         {"title", "shira training configuration"}};
  schema.update(object_schema(detail::config_keys()));
  for (const char* data : {"datasets", "train_data_dir", "instance_data_dir"}) {
    schema["anyOf"].push_back({{"required", {data}}});
  }
  for (const detail::KeyGroup& group : detail::config_key_groups()) {
    for (const auto& key : group.keys) {
      schema["properties"][std::string(key.name)]["x-group"] = group.title;
    }
  }
  return schema.dump(2) + "\n";
}

}  // namespace shira
