// checkpoint-<step> directories: complete or absent, the newest few kept.
#pragma once

#include <shira/base/export.h>
#include <shira/sparse/tensor_file.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace shira {

/// What a run needs besides its tensors to go on where it stopped.
struct TrainerState {
  std::int64_t step = 0;       // optimiser steps done
  double train_seconds = 0.0;  // spent in them; not on evaluations and checkpoints
  /// Loss sum and term count since the last logged step.
  double window_loss = 0.0;
  std::int64_t window_terms = 0;
  std::int64_t evaluated_step = -1;  // of the last evaluation; -1 = none
  std::optional<double> first_eval_loss;
  std::optional<double> last_eval_loss;
  std::optional<double> best_eval_loss;
  std::int64_t best_step = 0;  // where best_eval_loss was measured
  std::int64_t evaluations_without_improvement = 0;
  /// What must be equal for the position to mean the same: data fingerprint, batch sizes, ...
  std::map<std::string, std::string> identity;
  /// What must be equal for the resumed run to give the same bits: schedule, threads, LibTorch.
  std::map<std::string, std::string> surroundings;
};

/// Writes `output_dir`/checkpoint-<step>: trainer_state.json, trainer_state.safetensors with
/// `tensors`, and whatever `save_result` puts beside them.
SHIRA_API void save_checkpoint(
    const std::filesystem::path& output_dir, const TrainerState& state,
    const std::vector<NamedTensor>& tensors,
    const std::function<void(const std::filesystem::path&)>& save_result);

/// Reads the state and copies the stored tensors into `tensors` (same names, shapes and dtypes; an
/// IoError lists what differs).
SHIRA_API TrainerState load_checkpoint(const std::filesystem::path& checkpoint,
                                       const std::vector<NamedTensor>& tensors);

/// The newest complete checkpoint of a run directory.
SHIRA_API std::optional<std::filesystem::path> latest_checkpoint(
    const std::filesystem::path& output_dir);

/// `output_dir`/checkpoint-<step>.
SHIRA_API std::filesystem::path checkpoint_path(const std::filesystem::path& output_dir,
                                                std::int64_t step);

/// Removes all but the newest `keep` checkpoints (0 = keeps all) and that of step `best`, and what
/// killed runs left behind.
SHIRA_API void prune_checkpoints(const std::filesystem::path& output_dir, std::int64_t keep,
                                 std::optional<std::int64_t> best = std::nullopt);

}  // namespace shira
