// A list of names decides; what is not known to be weights is taken along.
#include "posix_file.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/checkpoint_copy.h>

#include <nlohmann/json.hpp>

#include <algorithm>

namespace shira {
namespace {

namespace fs = std::filesystem;

bool is_weight_file(const std::string& name) {
  return name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json") ||
         name.ends_with(".bin") || name.ends_with(".bin.index.json") || name.ends_with(".pth") ||
         name.ends_with(".gguf");
}

}  // namespace

std::vector<std::string> companion_files(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    std::string name = entry.path().filename().string();
    const bool stays = is_weight_file(name) || name == "README.md" || name.starts_with("adapter_");
    if (entry.is_regular_file() && !stays) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

void copy_companion_files(const fs::path& from, const fs::path& to) {
  for (const std::string& name : companion_files(from)) duplicate_file(from / name, to / name);
}

void duplicate_file(const fs::path& from, const fs::path& to) {
  // Not std::filesystem::copy_file, which says "Input/output error" when the disk is full.
  const detail::Descriptor source = detail::open_for_reading(from);
  AtomicFile copy(to);
  std::vector<char> chunk(1 << 20);
  while (const auto size = detail::read_some(source, chunk.data(), chunk.size(), from)) {
    copy.write(chunk.data(), size);
  }
  copy.commit();
}

void write_checkpoint_index(const fs::path& from, const fs::path& to,
                            const CheckpointIndex& index) {
  constexpr const char* kName = "model.safetensors.index.json";
  // Read by CheckpointFiles before, so known to be an object.
  auto text = nlohmann::ordered_json::parse(read_file(from / kName));
  auto& metadata = text["metadata"];
  if (!metadata.is_object()) metadata = nlohmann::ordered_json::object();
  metadata["total_size"] = index.total_size;
  if (metadata.contains("total_parameters") && metadata["total_parameters"].is_number_integer()) {
    const auto before = metadata["total_parameters"].get<std::uint64_t>();  // any number wraps
    metadata["total_parameters"] = before + static_cast<std::uint64_t>(index.more_parameters);
  }
  text["weight_map"] = index.weight_map;
  write_file(to / kName, text.dump(2) + "\n");
}

}  // namespace shira
