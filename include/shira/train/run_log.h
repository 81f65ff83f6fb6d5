// What a run tells while it goes on: metrics.jsonl, TensorBoard events, the progress line; at the
// end a picture of its losses.
#pragma once

#include <shira/base/export.h>
#include <shira/io/event_file.h>
#include <shira/train/metrics.h>
#include <shira/train/progress.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace shira {

/// A prompt and what the model makes of it.
struct SampleText {
  std::string prompt;
  std::string text;  // the continuation; of a picture its file in output_dir
};

/// What a run counts and what its loss is.
struct LogUnits {
  std::string items = "tokens";       // "tokens_per_second"
  std::string loss = "nats a token";  // under the axis of loss.png
  bool has_perplexity = true;         // exp(loss) means something
};

/// The numbers of a logged step, named as in metrics.jsonl.
struct StepNumbers {
  double epoch = 0.0;
  double loss = 0.0;
  double learning_rate = 0.0;
  double grad_norm = 0.0;
  double items_per_second = 0.0;
  double train_seconds = 0.0;  // in all steps so far
};

struct RunLogOptions {
  std::int64_t total_steps = 0;
  std::int64_t first_step = -1;      // of a resumed run: what was logged beyond it is removed
  std::int64_t evaluated_step = -1;  // and evaluations beyond this one
  std::int64_t logging_steps = 1;
  bool tensorboard = false;  // event files in output_dir/tensorboard, as transformers tags them
  LogUnits units = {};
};

class SHIRA_API RunLog {
 public:
  /// Opens or goes on with the files in `output_dir`, which must exist.
  RunLog(const std::filesystem::path& output_dir, const RunLogOptions& options);

  /// Shows the state after a step.
  void progress(std::int64_t step, const StepNumbers& numbers);
  /// Records it.
  void log_step(std::int64_t step, const StepNumbers& numbers);
  void log_evaluation(std::int64_t step, double loss, double train_seconds);
  void log_sample(std::int64_t step, const SampleText& sample);

  /// Ends the progress line and draws output_dir/loss.png from the metrics file.
  void finish();

 private:
  void scalar(const std::string& tag, std::int64_t step, double value);

  std::filesystem::path output_dir_;
  LogUnits units_;
  MetricsFile metrics_;
  std::unique_ptr<EventFile> events_;
  ProgressBar progress_;
};

}  // namespace shira
