// The index is the authority: every shard must hold the tensors it lists there, and no others.
#include "quote.h"
#include "strict_json.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/checkpoint_files.h>

#include <algorithm>
#include <set>

namespace shira {
namespace {

namespace fs = std::filesystem;
using WeightMap = std::map<std::string, std::string>;  // tensor -> shard

/// Names under which weights are found, and their index, in the order of preference.
struct WeightNames {
  const char* weights;
  const char* index;
};
constexpr WeightNames kWeightNames[] = {
    {"model.safetensors", "model.safetensors.index.json"},
    {"diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json"},
    {"model.fp16.safetensors", "model.safetensors.index.fp16.json"},
    {"diffusion_pytorch_model.fp16.safetensors",
     "diffusion_pytorch_model.safetensors.index.fp16.json"}};
constexpr const char* kPipeline = "model_index.json";

/// The first names that `directory` has one of; nothing where there are no weights.
const WeightNames* find_weights(const fs::path& directory) {
  for (const WeightNames& names : kWeightNames) {
    if (fs::exists(directory / names.weights) || fs::exists(directory / names.index)) return &names;
  }
  return nullptr;
}

[[noreturn]] void throw_no_weights(const fs::path& directory) {
  SHIRA_CHECK(IoError, fs::is_directory(directory), directory,
              ": no such directory; expected a HuggingFace checkpoint directory");
  const bool pickled = fs::exists(directory / "pytorch_model.bin") ||
                       fs::exists(directory / "pytorch_model.bin.index.json");
  SHIRA_CHECK(IoError, !pickled, directory,
              ": has only pytorch_model.bin, a pickle, which is not read; convert it with\n",
              "  python -c \"from transformers import AutoModelForCausalLM as M; "
              "M.from_pretrained('",
              directory.string(), "', torch_dtype='auto').save_pretrained('", directory.string(),
              "')\"");
  throw IoError(detail::concat(directory, ": has no weights; expected ", kWeightNames[0].weights,
                               " or ", kWeightNames[0].index, ", or diffusers' ",
                               kWeightNames[1].weights));
}

/// At most ten of the names, for an error message.
std::string list_of(const std::vector<std::string>& names) {
  std::string list;
  for (std::size_t i = 0; i < names.size() && i < 10; ++i) {
    list += (i == 0 ? "" : ", ") + detail::quote(names[i]);
  }
  return names.size() <= 10 ? list : detail::concat(list, " and ", names.size() - 10, " more");
}

WeightMap parse_weight_map(const fs::path& path) {
  const nlohmann::json index = detail::parse_strict_json(read_file(path));
  SHIRA_CHECK(IoError,
              index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(),
              "expected an object with an object \"weight_map\"");
  WeightMap weight_map;
  for (const auto& [tensor, shard] : index["weight_map"].items()) {
    SHIRA_CHECK(IoError, shard.is_string(), "the shard of tensor ", detail::quote(tensor),
                " is not a string");
    weight_map.emplace(tensor, shard.get<std::string>());
  }
  return weight_map;
}

WeightMap read_weight_map(const fs::path& path) {
  try {
    return parse_weight_map(path);
  } catch (const IoError& error) {
    throw IoError(detail::concat(path, ": ", error.what()));
  }
}

/// A shard is a plain file name: an index must not reach out of its directory.
void check_shard_name(const std::string& shard, const fs::path& index) {
  const bool plain = !shard.empty() && shard != "." && shard != ".." &&
                     shard.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
  SHIRA_CHECK(IoError, plain, index, ": names the shard ", detail::quote(shard),
              ", expected the name of a file in the same directory");
}

std::set<std::string> checked_shards(const WeightMap& weight_map, const fs::path& index) {
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : weight_map) shards.insert(shard);
  std::vector<std::string> missing;
  for (const std::string& shard : shards) {
    check_shard_name(shard, index);
    if (!fs::exists(index.parent_path() / shard)) missing.push_back(shard);
  }
  SHIRA_CHECK(IoError, missing.empty(), index, ": shards are missing beside it: ", list_of(missing),
              "; download the checkpoint again");
  return shards;
}

/// The index places exactly these tensors in this shard.
void check_listed(const SafetensorsFile& file, const WeightMap& weight_map, const fs::path& index) {
  const fs::path& path = file.path();
  const std::string index_name = index.filename();
  for (const std::string& name : file.names()) {
    const auto listed = weight_map.find(name);
    SHIRA_CHECK(IoError, listed != weight_map.end(), path, ": has a tensor ", detail::quote(name),
                " that ", index_name, " does not list");
    SHIRA_CHECK(IoError, listed->second == path.filename(), path, ": has the tensor ",
                detail::quote(name), " that ", index_name, " places in ",
                detail::quote(listed->second));
  }
}

std::vector<std::string> names_in_file_order(const SafetensorsFile& file) {
  std::vector<std::pair<const std::byte*, std::string>> places;
  for (const std::string& name : file.names()) places.emplace_back(file.view(name).data, name);
  std::stable_sort(places.begin(), places.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> names;
  for (auto& [data, name] : places) names.push_back(std::move(name));
  return names;
}

}  // namespace

std::vector<std::string> weight_components(const fs::path& directory) {
  const fs::path path = directory / kPipeline;
  if (!fs::exists(path)) return {};
  const auto index = nlohmann::ordered_json::parse(read_file(path), nullptr, false);
  SHIRA_CHECK(IoError, index.is_object(), path, ": not a JSON object");
  std::vector<std::string> components;
  for (const auto& [name, value] : index.items()) {
    const bool is_component = !name.starts_with("_") && value.is_array() &&
                              name.find_first_of("/\\.") == std::string::npos;
    if (is_component && find_weights(directory / name)) components.push_back(name);
  }
  return components;
}

CheckpointFiles::CheckpointFiles(const fs::path& directory) : directory_(directory) {
  if (!fs::exists(directory / kPipeline)) {
    add_component("", "");
    return;
  }
  const std::vector<std::string> components = weight_components(directory);
  SHIRA_CHECK(IoError, !components.empty(), directory,
              ": no component of this pipeline has safetensors weights");
  for (const std::string& name : components) add_component(name, name + ".");
}

void CheckpointFiles::add_component(const fs::path& component, const std::string& prefix) {
  const fs::path directory = directory_ / component;
  const WeightNames* found = find_weights(directory);
  if (found == nullptr) throw_no_weights(directory);
  if (fs::exists(directory / found->weights)) {
    return add(SafetensorsFile(directory / found->weights),
               {.file = component / found->weights, .prefix = prefix});
  }
  const fs::path index = directory / found->index;
  const WeightMap weight_map = read_weight_map(index);
  for (const std::string& shard : checked_shards(weight_map, index)) {
    const SafetensorsFile file(directory / shard);
    check_listed(file, weight_map, index);
    add(file, {.file = component / shard, .index = component / found->index, .prefix = prefix});
  }
  std::vector<std::string> missing;
  for (const auto& [name, shard] : weight_map) {
    if (!tensors_.contains(prefix + name)) missing.push_back(name);
  }
  SHIRA_CHECK(IoError, missing.empty(), index,
              ": lists tensors that their shards do not have: ", list_of(missing));
}

void CheckpointFiles::add(const SafetensorsFile& file, CheckpointShard shard) {
  for (const std::string& name : names_in_file_order(file)) {
    tensors_.emplace(shard.prefix + name, file.view(name));
    shard.names.push_back(shard.prefix + name);
  }
  shard.metadata = file.metadata();
  shards_.push_back(std::move(shard));
}

std::vector<std::string> CheckpointFiles::names() const {
  std::vector<std::string> names;
  for (const auto& [name, view] : tensors_) names.push_back(name);
  return names;
}

bool CheckpointFiles::contains(std::string_view name) const { return tensors_.contains(name); }

TensorView CheckpointFiles::view(std::string_view name) const {
  const auto found = tensors_.find(name);
  SHIRA_CHECK(IoError, found != tensors_.end(), directory_, ": the checkpoint has no tensor ",
              detail::quote(name));
  return found->second;
}

}  // namespace shira
