// A list of names decides; what is not known to be weights is taken along.
#include "json_object.h"
#include "posix_file.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/checkpoint_copy.h>
#include <shira/io/checkpoint_files.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace shira {
namespace {

namespace fs = std::filesystem;

bool is_weight_file(const std::string& name) {
  // Of PyTorch, Flax, TensorFlow, ONNX, OpenVINO, Rust, llama.cpp.
  static const std::vector<std::string> kEndings = {".safetensors", ".safetensors.index.json",
                                                    ".bin",         ".bin.index.json",
                                                    ".pt",          ".pth",
                                                    ".ckpt",        ".msgpack",
                                                    ".h5",          ".onnx",
                                                    ".onnx_data",   ".ot",
                                                    ".gguf"};
  return std::ranges::any_of(kEndings, [&](const auto& ending) { return name.ends_with(ending); });
}

/// Appends the plain files of `root` / `folder` that are kept.
template <typename Keep>
void list_files(const fs::path& root, const fs::path& folder, const Keep& is_kept,
                std::vector<std::string>& paths) {
  for (const auto& entry : fs::directory_iterator(root / folder)) {
    const std::string name = entry.path().filename();
    if (entry.is_regular_file() && is_kept(name)) paths.push_back(folder / name);
  }
}

/// What a training run leaves beside its result.
bool is_of_run(const std::string& name) {
  static const std::set<std::string> kNames = {"config.yaml", "loss.png", "metrics.jsonl",
                                               "trainer_state.json"};
  return kNames.contains(name) || name.starts_with("events.out.tfevents.");
}

bool is_companion(const std::string& name) {
  return !is_weight_file(name) && name != "README.md" && !name.starts_with("adapter_") &&
         !is_of_run(name);
}

}  // namespace

std::vector<std::string> companion_files(const fs::path& directory) {
  std::vector<std::string> paths;
  list_files(directory, "", is_companion, paths);
  if (fs::exists(directory / "model_index.json")) {
    const std::vector<std::string> ours = weight_components(directory);
    const auto index = detail::read_json_object(directory / "model_index.json");
    for (const auto& entry : fs::directory_iterator(directory)) {
      const std::string name = entry.path().filename();
      if (!entry.is_directory() || !index.contains(name)) continue;
      const bool has_weights = std::find(ours.begin(), ours.end(), name) != ours.end();
      const auto is_kept = [&](const std::string& file) {
        return !has_weights || is_companion(file);
      };
      list_files(directory, name, is_kept, paths);
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

void copy_companion_files(const fs::path& from, const fs::path& to) {
  for (const std::string& path : companion_files(from)) {
    fs::create_directories((to / path).parent_path());
    duplicate_file(from / path, to / path);
  }
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
  // Read by CheckpointFiles before, so known to be an object.
  auto text = nlohmann::ordered_json::parse(read_file(from));
  auto& metadata = text["metadata"];
  if (!metadata.is_object()) metadata = nlohmann::ordered_json::object();
  metadata["total_size"] = index.total_size;
  if (metadata.contains("total_parameters") && metadata["total_parameters"].is_number_integer()) {
    const auto before = metadata["total_parameters"].get<std::uint64_t>();  // any number wraps
    metadata["total_parameters"] = before + static_cast<std::uint64_t>(index.more_parameters);
  }
  text["weight_map"] = index.weight_map;
  write_file(to, text.dump(2) + "\n");
}

}  // namespace shira
