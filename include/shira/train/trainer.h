// The training loop: accumulate, clip, step, publish, log, evaluate, save.
#pragma once

#include <shira/base/export.h>
#include <shira/data/batch_reader.h>
#include <shira/data/batch_source.h>
#include <shira/io/directory_lock.h>
#include <shira/methods/training_method.h>
#include <shira/train/checkpoint.h>
#include <shira/train/lr_schedule.h>
#include <shira/train/objective.h>
#include <shira/train/optimizer.h>
#include <shira/train/run_log.h>
#include <shira/train/step_schedule.h>
#include <shira/train/stop_signal.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

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
  /// Ends after so many evaluations in a row without a lower loss.
  std::optional<std::int64_t> early_stopping_patience = std::nullopt;
  /// Saves a checkpoint at every lowest evaluation loss, keeps it, and makes it the result.
  bool load_best_model_at_end = false;
  bool tensorboard = false;
  LogUnits units = {};
  /// Of what is random in a step (dropout): each begins by seeding LibTorch's generators with this
  /// and its number.
  std::uint64_t seed = 0;
  std::filesystem::path output_dir;
  /// What TrainerState's maps hold beside the trainer's own entries: settings of model and method.
  std::map<std::string, std::string> identity = {};
  std::map<std::string, std::string> surroundings = {};
  std::optional<std::filesystem::path> resume_from = std::nullopt;  // a checkpoint of this run
};

/// The parts of a run, borrowed by the trainer.
struct TrainerParts {
  TrainingMethod& method;
  Objective& objective;
  Optimizer& optimizer;
  BatchSource& train;
  BatchSource* validation = nullptr;
  /// Writes what the run is for (an adapter, a checkpoint) into an existing directory.
  std::function<void(const std::filesystem::path&)> save_result;
  /// What the model makes of the run's prompts after so many steps; asked at every evaluation. May
  /// be empty.
  std::function<std::vector<SampleText>(std::int64_t)> samples = nullptr;
};

struct TrainResult {
  std::int64_t step = 0;  // optimiser steps done in all
  std::int64_t total_steps = 0;
  int stop_signal = 0;         // SIGINT or SIGTERM when it ended the run early (state is saved)
  bool stopped_early = false;  // early_stopping_patience ran out
  std::optional<double> first_eval_loss;  // before training
  std::optional<double> last_eval_loss;
  std::int64_t evaluated_step = 0;  // where it was measured
  std::optional<double> best_eval_loss;
  std::int64_t best_step = 0;
  double seconds = 0.0;              // of this call
  double median_step_seconds = 0.0;  // of this call's training steps; 0 when there was none
  std::int64_t items = 0;            // tokens trained on in this call
  double items_per_second = 0.0;     // while training
};

class SHIRA_API Trainer {
 public:
  Trainer(TrainerParts parts, TrainerOptions options);

  /// Opens output_dir, which no other run may be using, and restores resume_from. A checkpoint that
  /// does not fit throws before any file was changed. run() calls it if nobody did.
  void start();

  /// Trains to the end, or until SIGINT or SIGTERM (finishes the step and saves). A NaN or infinite
  /// loss or gradient throws Error naming step and batch before anything was changed by it.
  TrainResult run();

 private:
  struct Group {
    std::int64_t epoch = 0;
    std::int64_t first = 0;  // number of batches[0]
    std::vector<Batch> batches;
  };

  std::map<std::string, std::string> identity() const;
  std::map<std::string, std::string> surroundings() const;
  std::vector<NamedTensor> state_tensors() const;
  void restore(const std::filesystem::path& checkpoint);
  void forget_missing_best();
  Group fetch_group();
  void seed_step();
  double backward(const Group& group, std::size_t i, std::int64_t terms);
  void train_step();
  void log_step(std::int64_t items, double seconds, double grad_norm);
  bool is_due(std::int64_t every) const;
  bool is_evaluation_due() const;
  bool has_lost_patience() const;
  bool is_done() const;
  std::optional<double> evaluate(const StopSignal& stop);
  void note_loss(double loss);
  void evaluate_and_log(const StopSignal& stop);
  void save();
  void check_weights();
  void train_until_done(const StopSignal& stop);
  void save_final_result();
  TrainResult result(double seconds, int stop_signal);
  std::string advice() const;

  TrainerParts parts_;
  TrainerOptions options_;
  BatchReader reader_;
  StepSchedule steps_;
  std::int64_t total_steps_;
  LrSchedule schedule_;
  TrainerState state_;
  std::int64_t saved_step_ = 0;  // of the newest checkpoint that holds state_
  Group last_group_;
  std::int64_t items_ = 0;
  std::vector<double> step_seconds_;
  std::unique_ptr<DirectoryLock> lock_;
  std::unique_ptr<RunLog> log_;
};

}  // namespace shira
