// A directory is complete when it has its final name: it is filled under a temporary one.
#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/safetensors.h>
#include <shira/train/checkpoint.h>

#include <ATen/Functions.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace shira {
namespace {

using nlohmann::json;

constexpr std::string_view kPrefix = "checkpoint-";
constexpr const char* kStateName = "trainer_state.json";
constexpr const char* kStateTensorsName = "trainer_state.safetensors";

/// The step of a directory named checkpoint-<step>, or nothing.
std::optional<std::int64_t> checkpoint_step(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::int64_t step = 0;
  const char* begin = name.data() + kPrefix.size();
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(begin, end, step);
  if (error != std::errc() || stop != end || begin == end || step < 0) return std::nullopt;
  return step;
}

/// Complete checkpoints, oldest first.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& output_dir) {
  std::vector<std::filesystem::path> found;
  if (!std::filesystem::is_directory(output_dir)) return found;
  for (const auto& entry : std::filesystem::directory_iterator(output_dir)) {
    const bool complete = checkpoint_step(entry.path()) && entry.is_directory() &&
                          std::filesystem::exists(entry.path() / kStateName);
    if (complete) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return checkpoint_step(a) < checkpoint_step(b); });
  return found;
}

/// As prune_checkpoints names a checkpoint while it removes it.
constexpr const char* kDiscarded = ".tmp";

bool is_discarded(const std::filesystem::path& path) {
  return path.extension() == kDiscarded && checkpoint_step(path.stem());
}

template <typename Value>
void put(json& object, const char* key, const std::optional<Value>& value) {
  if (value) object[key] = *value;
}

template <typename Value>
void take(const json& object, const char* key, std::optional<Value>& value) {
  // JSON has no NaN: it was written as null.
  if (object.contains(key) && !object[key].is_null()) value = object[key].get<Value>();
}

json state_json(const TrainerState& state) {
  json object = {{"step", state.step},
                 {"train_seconds", state.train_seconds},
                 {"window_loss", state.window_loss},
                 {"window_terms", state.window_terms},
                 {"evaluated_step", state.evaluated_step},
                 {"best_step", state.best_step},
                 {"evaluations_without_improvement", state.evaluations_without_improvement},
                 {"identity", state.identity},
                 {"surroundings", state.surroundings}};
  put(object, "first_eval_loss", state.first_eval_loss);
  put(object, "last_eval_loss", state.last_eval_loss);
  put(object, "best_eval_loss", state.best_eval_loss);
  return object;
}

TrainerState parse_state(const json& object) {
  TrainerState state;
  object.at("step").get_to(state.step);
  state.train_seconds = object.value("train_seconds", 0.0);
  object.at("window_loss").get_to(state.window_loss);
  object.at("window_terms").get_to(state.window_terms);
  object.at("evaluated_step").get_to(state.evaluated_step);
  object.at("best_step").get_to(state.best_step);
  object.at("evaluations_without_improvement").get_to(state.evaluations_without_improvement);
  object.at("identity").get_to(state.identity);
  object.at("surroundings").get_to(state.surroundings);
  take(object, "first_eval_loss", state.first_eval_loss);
  take(object, "last_eval_loss", state.last_eval_loss);
  take(object, "best_eval_loss", state.best_eval_loss);
  return state;
}

TrainerState read_state(const std::filesystem::path& path) {
  try {
    TrainerState state = parse_state(json::parse(read_file(path)));
    SHIRA_CHECK(IoError, state.step == checkpoint_step(path.parent_path()), path.string(),
                ": step ", state.step, " does not fit the directory's name.");
    return state;
  } catch (const json::exception& error) {
    throw IoError(detail::concat(path.string(), ": damaged: ", error.what(),
                                 ". Delete this checkpoint to go on from the one before."));
  }
}

void restore_tensors(const SafetensorsFile& file, const std::vector<NamedTensor>& tensors) {
  torch::NoGradGuard no_grad;
  std::string problems;
  for (const auto& [name, tensor] : tensors) {
    if (!file.contains(name)) {
      problems += "\n  " + name + ": missing";
      continue;
    }
    const TensorView view = file.view(name);
    const bool fits = at::IntArrayRef(view.shape) == tensor.sizes() &&
                      to_scalar_type(view.dtype) == tensor.scalar_type();
    if (!fits) problems += "\n  " + name + ": another shape or dtype";
    if (problems.empty()) tensor.copy_(map_tensor(view));
  }
  SHIRA_CHECK(IoError, problems.empty() && file.names().size() == tensors.size(),
              file.path().string(), ": does not belong to this run: ", file.names().size(),
              " tensors stored, ", tensors.size(), " expected.", problems);
}

}  // namespace

void save_checkpoint(const std::filesystem::path& output_dir, const TrainerState& state,
                     const std::vector<NamedTensor>& tensors,
                     const std::function<void(const std::filesystem::path&)>& save_result) {
  write_directory(checkpoint_path(output_dir, state.step),
                  [&](const std::filesystem::path& temporary) {
                    save_tensors(temporary / kStateTensorsName, tensors);
                    write_file(temporary / kStateName, state_json(state).dump(2) + "\n");
                    save_result(temporary);
                  });
}

TrainerState load_checkpoint(const std::filesystem::path& checkpoint,
                             const std::vector<NamedTensor>& tensors) {
  TrainerState state = read_state(checkpoint / kStateName);
  try {
    restore_tensors(SafetensorsFile(checkpoint / kStateTensorsName), tensors);
  } catch (const IoError& error) {
    throw IoError(detail::concat(error.what(),
                                 "\nResume with the configuration that the run was "
                                 "started with, or delete ",
                                 checkpoint.string(), " to go on from the one before."));
  }
  return state;
}

std::optional<std::filesystem::path> latest_checkpoint(const std::filesystem::path& output_dir) {
  const auto checkpoints = list_checkpoints(output_dir);
  if (checkpoints.empty()) return std::nullopt;
  return checkpoints.back();
}

std::filesystem::path checkpoint_path(const std::filesystem::path& output_dir, std::int64_t step) {
  return output_dir / (std::string(kPrefix) + std::to_string(step));
}

void prune_checkpoints(const std::filesystem::path& output_dir, std::int64_t keep,
                       std::optional<std::int64_t> best) {
  const auto checkpoints = list_checkpoints(output_dir);
  const auto total = static_cast<std::int64_t>(checkpoints.size());
  for (std::int64_t i = 0; keep > 0 && i < total - keep; ++i) {
    const auto& old = checkpoints[static_cast<std::size_t>(i)];
    if (checkpoint_step(old) == best) continue;
    // Renamed first: a half removed directory must not look complete.
    std::filesystem::rename(old, old.string() + kDiscarded);
  }
  std::vector<std::filesystem::path> discarded;
  for (const auto& entry : std::filesystem::directory_iterator(output_dir)) {
    if (is_discarded(entry.path())) discarded.push_back(entry.path());
  }
  for (const auto& path : discarded) std::filesystem::remove_all(path);
  remove_leftovers(output_dir);
}

}  // namespace shira
