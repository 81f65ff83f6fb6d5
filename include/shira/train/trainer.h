// The training loop: accumulate, clip, step, publish, log, evaluate, save.
#pragma once

#include <shira/base/export.h>
#include <shira/data/data_loader.h>
#include <shira/methods/training_method.h>
#include <shira/train/checkpoint.h>
#include <shira/train/lr_schedule.h>
#include <shira/train/metrics.h>
#include <shira/train/objective.h>
#include <shira/train/optimizer.h>
#include <shira/train/progress.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace shira {

struct TrainerOptions {
  std::int64_t gradient_accumulation_steps = 1;
  double num_epochs = 1.0;
  std::optional<std::int64_t> max_steps;  // wins over num_epochs
  LrKind lr_scheduler = LrKind::kLinear;
  double learning_rate = 5e-4;
  std::optional<std::int64_t> warmup_steps;
  std::optional<double> warmup_ratio;
  double max_grad_norm = 1.0;  // 0 = no clipping
  std::int64_t logging_steps = 10;
  std::int64_t eval_steps = 0;  // 0 = before the first step and at the end only
  std::int64_t save_steps = 0;  // 0 = at the end only
  std::int64_t save_total_limit = 2;
  std::filesystem::path output_dir;
  /// What TrainerState's maps hold beside the trainer's own entries: settings of model and method.
  std::map<std::string, std::string> identity = {};
  std::map<std::string, std::string> surroundings = {};
  bool resume = false;  // from the newest checkpoint, if there is one
};

/// The parts of a run, borrowed by the trainer.
struct TrainerParts {
  TrainingMethod& method;
  Objective& objective;
  Optimizer& optimizer;
  DataLoader& train;
  DataLoader* validation = nullptr;
  /// Writes what the run is for (an adapter, a checkpoint) into an existing directory.
  std::function<void(const std::filesystem::path&)> save_result;
};

struct TrainResult {
  std::int64_t step = 0;  // optimiser steps done in all
  std::int64_t total_steps = 0;
  int stop_signal = 0;  // SIGINT or SIGTERM when it ended the run early (state is saved)
  std::optional<double> first_eval_loss;  // before training
  std::optional<double> last_eval_loss;
  double seconds = 0.0;    // of this call
  std::int64_t items = 0;  // tokens trained on in this call
};

class SHIRA_API Trainer {
 public:
  Trainer(TrainerParts parts, TrainerOptions options);

  /// Opens output_dir and restores the newest checkpoint when resuming. A checkpoint that does not
  /// fit throws before any file was changed. run() calls it if nobody did.
  void start();

  /// Trains to the end, or until SIGINT or SIGTERM (finishes the step and saves). A NaN or infinite
  /// loss or gradient throws Error naming step and batch before anything was changed by it.
  TrainResult run();

 private:
  struct GroupBatch {
    std::int64_t number;
    Batch batch;
  };

  std::int64_t steps_per_epoch() const;
  std::map<std::string, std::string> identity() const;
  std::map<std::string, std::string> surroundings() const;
  std::vector<NamedTensor> state_tensors() const;
  void restore(const std::filesystem::path& checkpoint);
  std::vector<GroupBatch> fetch_group(std::int64_t step);
  double backward(const GroupBatch& micro, std::int64_t step, std::int64_t terms);
  void train_step();
  double clip_gradients();
  void log_step(std::int64_t items, double seconds, double grad_norm);
  double evaluate();
  void evaluate_and_log();
  void save();
  void check_weights();
  std::string advice() const;

  TrainerParts parts_;
  TrainerOptions options_;
  LrSchedule schedule_;
  TrainerState state_;
  TrainResult result_;
  std::unique_ptr<MetricsFile> metrics_;
  std::unique_ptr<ProgressBar> progress_;
};

}  // namespace shira
