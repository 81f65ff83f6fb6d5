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

/// 2 adds targets held whole and removed ones; a file without them is one of version 1, which
/// programs that know no other read.
constexpr const char* kSparseVersion = "1";
constexpr const char* kWholeVersion = "2";
constexpr const char* kConfigName = "adapter_config.json";
constexpr const char* kTensorsName = "adapter_model.safetensors";
constexpr std::string_view kTargetPrefix = "target.";
constexpr std::string_view kWholeSuffix = ".whole";

std::string hex(std::uint64_t value) {
  std::array<char, 17> text{};
  std::snprintf(text.data(), text.size(), "%016" PRIx64, value);
  return text.data();
}

std::uint64_t parse_hex(const json& record) {
  const std::string text = record.is_string() ? record.get<std::string>() : record.dump();
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  SHIRA_CHECK(IoError,
              error == std::errc() && end == text.data() + text.size() && text.size() == 16, "'",
              text, "' is no checksum");
  return value;
}

const char* format_version(const AdapterFileBytes& file) {
  return file.whole.empty() && file.removed.empty() ? kSparseVersion : kWholeVersion;
}

json target_record(const SparseTargetBytes& target) {
  json record = {{"shape", target.shape}, {"nnz", target.indices.size()}};
  if (target.base_checksum) record["base_xxh3_64"] = hex(*target.base_checksum);
  return record;
}

std::map<std::string, std::string> file_metadata(const AdapterFileBytes& file) {
  const AdapterFileHeader& header = file.header;
  std::map<std::string, std::string> metadata = {
      {"format", "shira"},
      {"format_version", format_version(file)},
      {"value_kind", header.value_kind},
      {"base_dtype", std::string(dtype_name(header.base_dtype))},
      {"base_model", header.base_model},
      {"mask_type", header.mask_type}};
  for (const SparseTargetBytes& target : file.sparse) {
    metadata[std::string(kTargetPrefix) + target.name] = target_record(target).dump();
  }
  if (!file.removed.empty()) metadata["removed"] = json(file.removed).dump();
  if (!file.added.empty()) metadata["added"] = json(file.added).dump();
  return metadata;
}

/// The module names of the targets, for adapter_config.json.
std::vector<std::string> module_names(const AdapterFileBytes& file) {
  std::set<std::string> names;
  const auto add = [&names](std::string_view name) {
    names.emplace(name.ends_with(".weight") ? name.substr(0, name.size() - 7) : name);
  };
  for (const SparseTargetBytes& target : file.sparse) add(target.name);
  for (const TensorBytes& target : file.whole) add(target.name);
  return {names.begin(), names.end()};
}

json config_json(const AdapterFileBytes& file) {
  const AdapterFileHeader& header = file.header;
  return {{"peft_type", "SHIRA"},
          {"layout", "shira"},
          {"format_version", format_version(file)},
          {"value_kind", header.value_kind},
          {"base_model_name_or_path", header.base_model},
          {"base_dtype", dtype_name(header.base_dtype)},
          {"mask_type", header.mask_type},
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
              "). Adapters in PEFT's layout become ours with `shira convert --to shira`.");
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

SparseTargetView read_target(const SafetensorsFile& file, const std::string& name,
                             const std::string& record_text) {
  const json record = detail::parse_strict_json(record_text);
  std::int64_t numel = 0;
  std::vector<std::int64_t> shape = checked_shape(record, numel);
  TensorView values = file.view(name + ".values");
  const auto nnz = whole_number(record.at("nnz"));
  SHIRA_CHECK(IoError, values.shape == std::vector<std::int64_t>{nnz} && nnz <= numel,
              "the values are not a vector of nnz = ", nnz, " entries of ", numel);
  IndexDecoder positions(gap_bytes(file.view(name + ".gaps")),
                         restart_pairs(file.view(name + ".restarts")), nnz, numel);
  std::optional<std::uint64_t> checksum;
  if (record.contains("base_xxh3_64")) checksum = parse_hex(record["base_xxh3_64"]);
  return {name, std::move(shape), std::move(positions), std::move(values), checksum};
}

AdapterFileHeader read_header(const SafetensorsFile& file) {
  SHIRA_CHECK(IoError, metadata_value(file, "format") == "shira", "format is not 'shira'");
  const std::string& version = metadata_value(file, "format_version");
  SHIRA_CHECK(IoError, version == kSparseVersion || version == kWholeVersion, "format version ",
              version, " is not known (this shira reads ", kSparseVersion, " and ", kWholeVersion,
              "; a newer one may have written it)");
  AdapterFileHeader header;
  header.value_kind = metadata_value(file, "value_kind");
  SHIRA_CHECK(IoError, header.value_kind == "weights" || header.value_kind == "deltas",
              "value_kind '", header.value_kind, "' is neither weights nor deltas");
  const auto dtype = parse_dtype(metadata_value(file, "base_dtype"));
  SHIRA_CHECK(IoError, dtype.has_value(), "unknown base_dtype");
  header.base_dtype = *dtype;
  header.base_model = metadata_value(file, "base_model");
  header.mask_type = metadata_value(file, "mask_type");
  return header;
}

std::vector<SparseTargetView> read_sparse(const SafetensorsFile& file) {
  std::vector<SparseTargetView> targets;
  for (const auto& [key, value] : file.metadata()) {
    if (!key.starts_with(kTargetPrefix)) continue;
    const std::string name = key.substr(kTargetPrefix.size());
    try {
      targets.push_back(read_target(file, name, value));
    } catch (const std::exception& error) {
      throw IoError(detail::concat("tensor ", name, ": ", error.what()));
    }
  }
  return targets;
}

std::vector<WholeTargetView> read_whole(const SafetensorsFile& file) {
  std::vector<WholeTargetView> targets;
  for (const std::string& name : file.names()) {
    if (!name.ends_with(kWholeSuffix)) continue;
    targets.push_back({name.substr(0, name.size() - kWholeSuffix.size()), file.view(name)});
  }
  return targets;
}

/// The list of parameters under a key of the metadata, which may be absent.
std::vector<std::string> read_names(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) return {};
  const json names = detail::parse_strict_json(found->second);
  const bool is_list = names.is_array() && std::ranges::all_of(names, [](const json& name) {
                         return name.is_string();
                       });
  SHIRA_CHECK(IoError, is_list, "'", key, "' is no list of names");
  return names.get<std::vector<std::string>>();
}

void check_added(const AdapterFileView& adapter) {
  std::set<std::string_view> whole;
  for (const WholeTargetView& target : adapter.whole) whole.insert(target.name);
  for (const std::string& name : adapter.added) {
    SHIRA_CHECK(IoError, whole.erase(name) == 1, "tensor ", name,
                " is 'added' twice, or without being held whole");
  }
}

/// Each tensor belongs to a target, and each parameter is named once.
void check_complete(const SafetensorsFile& file, const AdapterFileView& adapter) {
  SHIRA_CHECK(IoError, file.names().size() == 3 * adapter.sparse.size() + adapter.whole.size(),
              "expected 3 tensors for each of ", adapter.sparse.size(),
              " sparse targets and 1 for ", "each of ", adapter.whole.size(), " whole ones. Got ",
              file.names().size());
  std::set<std::string_view> seen;
  const auto add = [&seen](std::string_view name) {
    SHIRA_CHECK(IoError, seen.insert(name).second, "tensor ", name, " is a target twice");
  };
  for (const SparseTargetView& target : adapter.sparse) add(target.name);
  for (const WholeTargetView& target : adapter.whole) add(target.name);
  for (const std::string& name : adapter.removed) add(name);
}

AdapterFileView read_view(const SafetensorsFile& file) {
  AdapterFileView adapter{read_header(file), read_sparse(file), {}, {}, {}};
  if (metadata_value(file, "format_version") == kWholeVersion) {
    adapter.whole = read_whole(file);
    adapter.removed = read_names(file, "removed");
    adapter.added = read_names(file, "added");
  } else {
    const bool is_plain =
        !file.metadata().contains("removed") && !file.metadata().contains("added");
    SHIRA_CHECK(IoError, is_plain, "'removed' and 'added' need format version 2");
  }
  check_complete(file, adapter);
  check_added(adapter);
  return adapter;
}

}  // namespace

void write_adapter_file(const std::filesystem::path& directory, const AdapterFileBytes& file) {
  std::vector<EncodedIndices> encoded;
  encoded.reserve(file.sparse.size());
  std::vector<TensorBytes> tensors;
  for (const SparseTargetBytes& target : file.sparse) {
    const auto nnz = static_cast<std::int64_t>(target.indices.size());
    const EncodedIndices& code = encoded.emplace_back(encode_indices(target.indices));
    const auto gaps = static_cast<std::int64_t>(code.gaps.size());
    const auto restarts = static_cast<std::int64_t>(code.restarts.size());
    tensors.push_back({target.name + ".restarts", DType::kI64, {restarts}, code.restarts.data()});
    tensors.push_back({target.name + ".values", target.dtype, {nnz}, target.values});
    tensors.push_back({target.name + ".gaps", DType::kU8, {gaps}, code.gaps.data()});
  }
  for (TensorBytes target : file.whole) {
    target.name += kWholeSuffix;
    tensors.push_back(std::move(target));
  }
  // The widest items first: every tensor then starts at a multiple of its item size.
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorBytes& a, const TensorBytes& b) {
    return item_size(a.dtype) > item_size(b.dtype);
  });
  write_safetensors(directory / kTensorsName, tensors, file_metadata(file));
  write_file(directory / kConfigName, config_json(file).dump(2) + "\n");
}

std::span<const std::byte> read_block(const SparseBlock& from) {
  const SparseTargetView& target = *from.target;
  try {
    target.positions.decode_block(from.block, from.indices);
  } catch (const IoError& error) {
    throw IoError(detail::concat("tensor ", target.name, ": ", error.what()));
  }
  const std::int64_t first = from.block * kIndexBlock;
  const auto count =
      static_cast<std::size_t>(std::min(kIndexBlock, target.positions.count() - first));
  const std::size_t size = item_size(target.values.dtype);
  const std::size_t offset = static_cast<std::size_t>(first) * size;
  std::memcpy(from.values + offset, target.values.data + offset, count * size);
  return {from.values + offset, count * size};
}

AdapterFileView read_adapter_file(const std::filesystem::path& directory) {
  SHIRA_CHECK(IoError, std::filesystem::is_directory(directory), directory.string(),
              ": no such adapter directory.");
  check_layout(directory / kConfigName);
  const SafetensorsFile file(directory / kTensorsName);
  try {
    return read_view(file);
  } catch (const std::exception& error) {
    throw IoError(detail::concat(file.path().string(), ": ", error.what(),
                                 ". The file is damaged or not an adapter of ours."));
  }
}

}  // namespace shira
