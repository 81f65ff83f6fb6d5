// The safetensors file holds all that loading needs; adapter_config.json names the layout and
// repeats the essentials for people and other tools.
#include "io/strict_json.h"

#include <shira/base/error.h>
#include <shira/io/adapter_file.h>
#include <shira/io/atomic_file.h>
#include <shira/io/index_codec.h>
#include <shira/io/safetensors.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <set>
#include <span>

namespace shira {
namespace {

using nlohmann::json;

constexpr const char* kFormatVersion = "1";
constexpr const char* kConfigName = "adapter_config.json";
constexpr const char* kTensorsName = "adapter_model.safetensors";
constexpr std::string_view kTargetPrefix = "target.";

std::string hex(std::uint64_t value) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016" PRIx64, value);
  return text.data();
}

std::uint64_t parse_hex(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  SHIRA_CHECK(IoError, error == std::errc() && end == text.data() + text.size(), "'", text,
              "' is no checksum");
  return value;
}

json target_record(const AdapterFileTensor& tensor) {
  json record = {{"shape", tensor.shape}, {"nnz", tensor.indices.size()}};
  if (tensor.base_checksum) record["base_xxh3_64"] = hex(*tensor.base_checksum);
  return record;
}

std::map<std::string, std::string> file_metadata(const AdapterFile& file) {
  std::map<std::string, std::string> metadata = {
      {"format", "shira"},
      {"format_version", kFormatVersion},
      {"value_kind", file.value_kind},
      {"base_dtype", std::string(dtype_name(file.base_dtype))},
      {"base_model", file.base_model},
      {"mask_type", file.mask_type}};
  for (const AdapterFileTensor& tensor : file.tensors) {
    metadata[std::string(kTargetPrefix) + tensor.name] = target_record(tensor).dump();
  }
  return metadata;
}

/// The module names of the targets, for adapter_config.json.
std::vector<std::string> module_names(const AdapterFile& file) {
  std::set<std::string> names;
  for (const AdapterFileTensor& tensor : file.tensors) {
    const std::string_view name = tensor.name;
    names.emplace(name.ends_with(".weight") ? name.substr(0, name.size() - 7) : name);
  }
  return {names.begin(), names.end()};
}

json config_json(const AdapterFile& file) {
  return {{"peft_type", "SHIRA"},
          {"layout", "shira"},
          {"format_version", kFormatVersion},
          {"value_kind", file.value_kind},
          {"base_model_name_or_path", file.base_model},
          {"base_dtype", dtype_name(file.base_dtype)},
          {"mask_type", file.mask_type},
          {"target_modules", module_names(file)}};
}

void check_layout(const std::filesystem::path& path) {
  SHIRA_CHECK(IoError, std::filesystem::is_regular_file(path), path.string(),
              ": missing. This is no adapter directory; a full checkpoint is a --base_model.");
  const std::string text = read_file(path);
  json config;
  try {
    config = detail::parse_strict_json(text);
  } catch (const IoError& error) {
    throw IoError(detail::concat(path.string(), ": ", error.what()));
  }
  SHIRA_CHECK(IoError, config.is_object(), path.string(), ": not a JSON object.");
  const bool ours = config.contains("layout") && config["layout"] == "shira";
  SHIRA_CHECK(IoError, ours, path.string(), ": not an adapter of the `shira` layout (peft_type ",
              config.contains("peft_type") ? config["peft_type"].dump() : "missing",
              "). Adapters in PEFT's layout cannot be read in this version.");
}

const std::string& metadata_value(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  SHIRA_CHECK(IoError, found != file.metadata().end(), "the metadata has no '", key, "'");
  return found->second;
}

std::span<const std::uint8_t> gap_bytes(const TensorView& view) {
  SHIRA_CHECK(IoError, view.dtype == DType::kU8 && view.shape.size() == 1,
              "the gaps are not U8 (n)");
  return {reinterpret_cast<const std::uint8_t*>(view.data), view.byte_size};
}

std::vector<std::int64_t> restart_pairs(const TensorView& view) {
  SHIRA_CHECK(IoError, view.dtype == DType::kI64, "the restarts are not I64");
  std::vector<std::int64_t> pairs(view.byte_size / sizeof(std::int64_t));
  if (!pairs.empty()) std::memcpy(pairs.data(), view.data, view.byte_size);
  return pairs;
}

/// nlohmann_json would cast a fraction, or a number beyond int64, to something.
std::int64_t whole_number(const json& value) {
  SHIRA_CHECK(IoError, value.is_number_integer(), value.dump(), " is no whole number");
  return value.get<std::int64_t>();
}

/// The shape of a target, checked to have between 1 and 2^31 - 1 entries.
std::vector<std::int64_t> checked_shape(const json& record, std::int64_t& numel) {
  std::vector<std::int64_t> shape;
  SHIRA_CHECK(IoError, record.at("shape").is_array(), "the shape is no list");
  numel = 1;
  for (const json& entry : record.at("shape")) {
    const std::int64_t size = shape.emplace_back(whole_number(entry));
    SHIRA_CHECK(IoError, size > 0 && numel <= INT32_MAX / size, "impossible shape ",
                record.at("shape").dump());
    numel *= size;
  }
  return shape;
}

AdapterFileTensor read_target(const SafetensorsFile& file, const std::string& name,
                              const std::string& record_text) {
  const json record = detail::parse_strict_json(record_text);
  AdapterFileTensor tensor;
  tensor.name = name;
  std::int64_t numel = 0;
  tensor.shape = checked_shape(record, numel);
  const TensorView values = file.view(name + ".values");
  const auto nnz = whole_number(record.at("nnz"));
  SHIRA_CHECK(IoError, values.shape == std::vector<std::int64_t>{nnz} && nnz <= numel,
              "the values are not a vector of nnz = ", nnz, " entries of ", numel);
  tensor.dtype = values.dtype;
  tensor.values.assign(values.data, values.data + values.byte_size);
  tensor.indices = decode_indices(gap_bytes(file.view(name + ".gaps")),
                                  restart_pairs(file.view(name + ".restarts")), nnz, numel);
  if (record.contains("base_xxh3_64")) {
    tensor.base_checksum = parse_hex(record["base_xxh3_64"].get<std::string>());
  }
  return tensor;
}

void read_header(const SafetensorsFile& file, AdapterFile& adapter) {
  SHIRA_CHECK(IoError, metadata_value(file, "format") == "shira", "format is not 'shira'");
  SHIRA_CHECK(IoError, metadata_value(file, "format_version") == kFormatVersion, "format version ",
              metadata_value(file, "format_version"), " is not known; this version reads ",
              kFormatVersion);
  adapter.value_kind = metadata_value(file, "value_kind");
  SHIRA_CHECK(IoError, adapter.value_kind == "weights" || adapter.value_kind == "deltas",
              "value_kind '", adapter.value_kind, "' is neither weights nor deltas");
  const auto dtype = parse_dtype(metadata_value(file, "base_dtype"));
  SHIRA_CHECK(IoError, dtype.has_value(), "unknown base_dtype");
  adapter.base_dtype = *dtype;
  adapter.base_model = metadata_value(file, "base_model");
  adapter.mask_type = metadata_value(file, "mask_type");
}

void read_targets(const SafetensorsFile& file, AdapterFile& adapter) {
  for (const auto& [key, value] : file.metadata()) {
    if (!key.starts_with(kTargetPrefix)) continue;
    const std::string name = key.substr(kTargetPrefix.size());
    try {
      adapter.tensors.push_back(read_target(file, name, value));
    } catch (const std::exception& error) {
      throw IoError(detail::concat("tensor ", name, ": ", error.what()));
    }
  }
  SHIRA_CHECK(IoError, file.names().size() == 3 * adapter.tensors.size(),
              "expected 3 tensors for each of ", adapter.tensors.size(), " targets. Got ",
              file.names().size(), ".");
}

}  // namespace

void write_adapter_file(const std::filesystem::path& directory, const AdapterFile& file) {
  std::vector<EncodedIndices> encoded;
  encoded.reserve(file.tensors.size());
  std::vector<TensorBytes> tensors;
  for (const AdapterFileTensor& tensor : file.tensors) {
    const auto nnz = static_cast<std::int64_t>(tensor.indices.size());
    const EncodedIndices& code = encoded.emplace_back(encode_indices(tensor.indices));
    const auto gaps = static_cast<std::int64_t>(code.gaps.size());
    const auto restarts = static_cast<std::int64_t>(code.restarts.size());
    tensors.push_back({tensor.name + ".restarts", DType::kI64, {restarts}, code.restarts.data()});
    tensors.push_back({tensor.name + ".values", tensor.dtype, {nnz}, tensor.values.data()});
    tensors.push_back({tensor.name + ".gaps", DType::kU8, {gaps}, code.gaps.data()});
  }
  // The widest items first: every tensor then starts at a multiple of its item size.
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorBytes& a, const TensorBytes& b) {
    return item_size(a.dtype) > item_size(b.dtype);
  });
  write_safetensors(directory / kTensorsName, tensors, file_metadata(file));
  write_file(directory / kConfigName, config_json(file).dump(2) + "\n");
}

AdapterFile read_adapter_file(const std::filesystem::path& directory) {
  SHIRA_CHECK(IoError, std::filesystem::is_directory(directory), directory.string(),
              ": no such adapter directory.");
  check_layout(directory / kConfigName);
  const SafetensorsFile file(directory / kTensorsName);
  AdapterFile adapter;
  try {
    read_header(file, adapter);
    read_targets(file, adapter);
  } catch (const std::exception& error) {
    throw IoError(detail::concat(file.path().string(), ": ", error.what(),
                                 ". The file is damaged or not an adapter of ours."));
  }
  return adapter;
}

}  // namespace shira
