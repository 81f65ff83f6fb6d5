// The same numbers in every form; metrics.jsonl is the one that counts: a resumed run cuts it back,
// and the picture is drawn from it.
#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/io/atomic_file.h>
#include <shira/io/line_chart.h>
#include <shira/io/picture.h>
#include <shira/train/run_log.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <iomanip>
#include <iostream>
#include <sstream>

namespace shira {
namespace {

ProgressOptions progress_options(const RunLogOptions& options) {
  ProgressOptions progress;
  progress.total_steps = options.total_steps;
  progress.first_step = std::max<std::int64_t>(options.first_step, 0);
  progress.logging_steps = options.logging_steps;
  progress.is_terminal = stderr_is_terminal();
  return progress;
}

/// The (step, value) pairs of the records that have `key`.
ChartSeries series_of(const std::string& metrics, const char* key, const char* name) {
  ChartSeries series{name, {}};
  std::istringstream lines(metrics);
  for (std::string line; std::getline(lines, line);) {
    const auto record = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool has_point = record.is_object() && record.contains(key) && record[key].is_number() &&
                           record.contains("step");
    if (has_point)
      series.points.push_back({record["step"].get<double>(), record[key].get<double>()});
  }
  return series;
}

}  // namespace

RunLog::RunLog(const std::filesystem::path& output_dir, const RunLogOptions& options)
    : output_dir_(output_dir),
      units_(options.units),
      metrics_(output_dir / "metrics.jsonl"),
      progress_(std::cerr, progress_options(options)) {
  metrics_.truncate_after(options.first_step, options.evaluated_step);
  if (!options.tensorboard) return;
  events_ = std::make_unique<EventFile>(output_dir / "tensorboard");
  if (options.first_step >= 0) events_->restart_at(options.first_step + 1);
}

void RunLog::scalar(const std::string& tag, std::int64_t step, double value) {
  if (events_) events_->scalar(tag, step, value);
}

void RunLog::progress(std::int64_t step, const StepNumbers& numbers) {
  std::ostringstream text;
  text << "loss " << std::fixed << std::setprecision(4) << numbers.loss << "  "
       << short_count(numbers.items_per_second) << " " << units_.items << "/s";
  progress_.update(step, text.str());
}

void RunLog::log_step(std::int64_t step, const StepNumbers& numbers) {
  metrics_.write({{"step", step},
                  {"epoch", numbers.epoch},
                  {"loss", numbers.loss},
                  {"learning_rate", numbers.learning_rate},
                  {"grad_norm", numbers.grad_norm},
                  {units_.items + "_per_second", numbers.items_per_second},
                  {"train_seconds", numbers.train_seconds}});
  scalar("train/epoch", step, numbers.epoch);
  scalar("train/loss", step, numbers.loss);
  scalar("train/learning_rate", step, numbers.learning_rate);
  scalar("train/grad_norm", step, numbers.grad_norm);
  scalar("train/" + units_.items + "_per_second", step, numbers.items_per_second);
}

void RunLog::log_evaluation(std::int64_t step, double loss, double train_seconds) {
  MetricRecord record = {{"step", step}, {"eval_loss", loss}};
  scalar("eval/loss", step, loss);
  if (units_.has_perplexity) {
    record.emplace_back("eval_perplexity", std::exp(loss));
    scalar("eval/perplexity", step, std::exp(loss));
  }
  record.emplace_back("train_seconds", train_seconds);
  metrics_.write(record);
  progress_.clear();
  log_info(detail::concat("step ", step, ": eval_loss ", loss));
}

void RunLog::log_sample(std::int64_t step, const SampleText& sample) {
  metrics_.write({{"step", step}, {"prompt", sample.prompt}, {"sample", sample.text}});
  if (events_) {
    events_->text("sample/" + sample.prompt, step, sample.prompt + sample.text);
  }
  progress_.clear();
  log_info(detail::concat("step ", step, ": ", sample.prompt, " |", sample.text));
}

void RunLog::finish() {
  progress_.finish();
  const std::string metrics = read_file(output_dir_ / "metrics.jsonl");
  LineChart chart{.title = "Loss",
                  .x_label = "step",
                  .y_label = units_.loss,
                  .series = {series_of(metrics, "loss", "training"),
                             series_of(metrics, "eval_loss", "held-out")}};
  std::erase_if(chart.series, [](const ChartSeries& series) { return series.points.empty(); });
  write_png(output_dir_ / "loss.png", draw_line_chart(chart));
}

}  // namespace shira
