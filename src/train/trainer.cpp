// Nothing here is random: the batches of a step are a function of the step, so that a checkpoint
// needs its number, the trained tensors and the optimiser's.
#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/train/stop_signal.h>
#include <shira/train/trainer.h>

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#include <chrono>
#include <cmath>
#include <iostream>

namespace shira {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// "key: was X, now Y" for each entry that differs.
std::string differences(const std::map<std::string, std::string>& was,
                        const std::map<std::string, std::string>& now) {
  std::string text;
  for (const auto& [key, value] : now) {
    const auto found = was.find(key);
    const std::string old = found == was.end() ? "unknown" : found->second;
    if (old != value) text += "\n  " + key + ": was " + old + ", now " + value;
  }
  return text;
}

}  // namespace

Trainer::Trainer(TrainerParts parts, TrainerOptions options)
    : parts_(std::move(parts)), options_(std::move(options)) {
  const double epochs_steps = options_.num_epochs * static_cast<double>(steps_per_epoch());
  result_.total_steps =
      options_.max_steps.value_or(static_cast<std::int64_t>(std::ceil(epochs_steps)));
  schedule_ = {
      options_.lr_scheduler, options_.learning_rate,
      count_warmup_steps(options_.warmup_steps, options_.warmup_ratio, result_.total_steps),
      result_.total_steps};
}

/// Accumulation groups do not cross epochs: the last one of an epoch may be smaller.
std::int64_t Trainer::steps_per_epoch() const {
  return ceil_div(parts_.train.batches_in_epoch(0), options_.gradient_accumulation_steps);
}

std::map<std::string, std::string> Trainer::identity() const {
  auto identity = options_.identity;
  identity["training data"] = std::to_string(parts_.train.fingerprint());
  identity["batches per epoch"] = std::to_string(parts_.train.batches_in_epoch(0));
  identity["gradient_accumulation_steps"] = std::to_string(options_.gradient_accumulation_steps);
  return identity;
}

std::map<std::string, std::string> Trainer::surroundings() const {
  auto surroundings = options_.surroundings;
  surroundings["learning rate schedule"] =
      detail::concat("kind ", static_cast<int>(schedule_.kind), ", peak ", schedule_.peak,
                     ", warm-up ", schedule_.warmup_steps, ", total ", schedule_.total_steps);
  surroundings["max_grad_norm"] = detail::concat(options_.max_grad_norm);
  surroundings["num_threads"] = std::to_string(at::get_num_threads());
  surroundings["LibTorch"] = TORCH_VERSION;
  return surroundings;
}

std::vector<NamedTensor> Trainer::state_tensors() const {
  std::vector<NamedTensor> tensors = parts_.optimizer.state();
  for (const auto& [name, tensor] : parts_.method.parameters()) {
    tensors.emplace_back("parameter." + name, tensor.detach());
  }
  return tensors;
}

void Trainer::restore(const std::filesystem::path& checkpoint) {
  state_ = load_checkpoint(checkpoint, state_tensors());
  const std::string wrong = differences(state_.identity, identity());
  SHIRA_CHECK(ConfigError, wrong.empty(), checkpoint.string(), ": made by another run:", wrong,
              "\nRestore the configuration, or start afresh in another output_dir.");
  SHIRA_CHECK(ConfigError, state_.step <= result_.total_steps, checkpoint.string(),
              ": is beyond the ", result_.total_steps,
              " steps of this configuration. Raise max_steps or num_epochs.");
  const std::string other = differences(state_.surroundings, surroundings());
  if (!other.empty()) log_warning("the resumed run will not equal an uninterrupted one:" + other);
  parts_.method.publish();
  log_info("resumed from " + checkpoint.string());
}

void Trainer::start() {
  std::error_code error;
  std::filesystem::create_directories(options_.output_dir, error);
  SHIRA_CHECK(ConfigError, !error && std::filesystem::is_directory(options_.output_dir),
              "output_dir ", options_.output_dir.string(), ": cannot be made: ", error.message(),
              ".");
  prune_checkpoints(options_.output_dir, 0);
  const auto checkpoint = options_.resume ? latest_checkpoint(options_.output_dir) : std::nullopt;
  if (checkpoint) restore(*checkpoint);
  if (!checkpoint) state_.identity = identity();  // restore found a checkpoint's to be equal
  state_.surroundings = surroundings();
  metrics_ = std::make_unique<MetricsFile>(options_.output_dir / "metrics.jsonl");
  metrics_->truncate_after(checkpoint ? state_.step : -1);
  ProgressOptions progress;
  progress.total_steps = result_.total_steps;
  progress.first_step = state_.step;
  progress.logging_steps = options_.logging_steps;
  progress.is_terminal = stderr_is_terminal();
  progress_ = std::make_unique<ProgressBar>(std::cerr, progress);
}

std::vector<Trainer::GroupBatch> Trainer::fetch_group(std::int64_t step) {
  const std::int64_t epoch = step / steps_per_epoch();
  const std::int64_t first = step % steps_per_epoch() * options_.gradient_accumulation_steps;
  const std::int64_t end =
      std::min(first + options_.gradient_accumulation_steps, parts_.train.batches_in_epoch(0));
  std::vector<GroupBatch> group;
  for (std::int64_t number = first; number < end; ++number) {
    group.push_back({number, parts_.train.batch(epoch, number)});
  }
  return group;
}

double Trainer::backward(const GroupBatch& micro, std::int64_t step, std::int64_t terms) {
  const torch::Tensor sum = parts_.objective.loss_sum(micro.batch);
  const auto loss = sum.item<double>();
  SHIRA_CHECK(Error, std::isfinite(loss), "step ", step + 1, ", batch ", micro.number, " of epoch ",
              step / steps_per_epoch(), ": the loss is ", loss, ". ", advice());
  (sum / static_cast<double>(terms)).backward();
  return loss;
}

/// What to do about a loss or gradient that is not finite.
std::string Trainer::advice() const {
  const auto checkpoint = latest_checkpoint(options_.output_dir);
  return "Lower learning_rate, or look at this batch. " +
         (checkpoint ? "The last good checkpoint is " + checkpoint->string() +
                           "; --resume continues from it."
                     : std::string("No checkpoint had been saved."));
}

double Trainer::clip_gradients() {
  std::vector<torch::Tensor> norms;
  std::vector<torch::Tensor> grads;
  for (const auto& [name, parameter] : parts_.method.parameters()) {
    SHIRA_CHECK(Error, parameter.grad().defined(), "no gradient reached ", name,
                ": the objective does not depend on it. Leave it out of target_modules.");
    grads.push_back(parameter.grad());
    norms.push_back(at::linalg_vector_norm(parameter.grad()));
  }
  const double norm = at::linalg_vector_norm(at::stack(norms)).item<double>();
  SHIRA_CHECK(Error, std::isfinite(norm), "step ", state_.step + 1, ", epoch ",
              state_.step / steps_per_epoch(), ": the gradient norm is ", norm, ". ", advice());
  const double scale = options_.max_grad_norm / (norm + 1e-6);  // torch.nn.utils.clip_grad_norm_
  if (options_.max_grad_norm > 0.0 && scale < 1.0) {
    for (torch::Tensor& grad : grads) grad.mul_(scale);
  }
  return norm;
}

void Trainer::train_step() {
  const double begin = seconds_now();
  const std::vector<GroupBatch> group = fetch_group(state_.step);
  std::int64_t terms = 0;
  std::int64_t items = 0;
  for (const GroupBatch& micro : group) {
    terms += parts_.objective.term_count(micro.batch);
    items += parts_.objective.item_count(micro.batch);
  }
  for (const auto& [name, parameter] : parts_.method.parameters()) parameter.mutable_grad().reset();
  double loss = 0.0;
  for (const GroupBatch& micro : group) {
    loss += backward(micro, state_.step, std::max<std::int64_t>(terms, 1));
  }
  const double grad_norm = clip_gradients();
  parts_.optimizer.step(learning_rate_at(schedule_, state_.step));
  parts_.method.publish();
  ++state_.step;
  state_.window_loss += loss;
  state_.window_terms += terms;
  result_.items += items;
  log_step(items, seconds_now() - begin, grad_norm);
}

void Trainer::log_step(std::int64_t items, double seconds, double grad_norm) {
  const double loss =
      state_.window_loss / static_cast<double>(std::max<std::int64_t>(state_.window_terms, 1));
  const double rate = static_cast<double>(items) / seconds;
  progress_->update(state_.step, loss, rate);
  if (state_.step % options_.logging_steps != 0 && state_.step != result_.total_steps) return;
  const double epoch = static_cast<double>(state_.step) / static_cast<double>(steps_per_epoch());
  metrics_->write({{"step", state_.step},
                   {"epoch", epoch},
                   {"loss", loss},
                   {"learning_rate", learning_rate_at(schedule_, state_.step - 1)},
                   {"grad_norm", grad_norm},
                   {"tokens_per_second", rate}});
  state_.window_loss = 0.0;
  state_.window_terms = 0;
}

double Trainer::evaluate() {
  torch::NoGradGuard no_grad;
  double sum = 0.0;
  std::int64_t terms = 0;
  for (std::int64_t i = 0; i < parts_.validation->batches_in_epoch(0); ++i) {
    const Batch batch = parts_.validation->batch(0, i);
    sum += parts_.objective.loss_sum(batch).item<double>();
    terms += parts_.objective.term_count(batch);
  }
  return sum / static_cast<double>(std::max<std::int64_t>(terms, 1));
}

void Trainer::evaluate_and_log() {
  const double loss = evaluate();
  result_.last_eval_loss = loss;
  if (state_.step == 0) state_.first_eval_loss = loss;
  metrics_->write(
      {{"step", state_.step}, {"eval_loss", loss}, {"eval_perplexity", std::exp(loss)}});
  progress_->clear();
  log_info(detail::concat("step ", state_.step, ": eval_loss ", loss));
}

/// A step can wreck the weights, which no loss has shown yet: only what gives a finite one is
/// saved.
void Trainer::check_weights() {
  torch::NoGradGuard no_grad;
  const std::int64_t step = state_.step - 1;
  const GroupBatch micro = fetch_group(step).front();
  const auto loss = parts_.objective.loss_sum(micro.batch).item<double>();
  SHIRA_CHECK(Error, std::isfinite(loss), "after step ", state_.step, ", batch ", micro.number,
              " of epoch ", step / steps_per_epoch(), ": the loss is ", loss, ". ", advice());
}

void Trainer::save() {
  check_weights();
  save_checkpoint(options_.output_dir, state_, state_tensors(), parts_.save_result);
  prune_checkpoints(options_.output_dir, options_.save_total_limit);
}

TrainResult Trainer::run() {
  StopSignal stop;
  if (!metrics_) start();
  const double begin = seconds_now();
  const auto is_due = [this](std::int64_t every) {
    return (every > 0 && state_.step % every == 0) || state_.step == result_.total_steps;
  };
  bool saved = state_.step > 0;
  if (parts_.validation != nullptr && state_.step == 0) evaluate_and_log();
  if (parts_.validation != nullptr && state_.step > 0 && state_.step >= result_.total_steps) {
    result_.last_eval_loss = evaluate();  // of a finished run: its record is there
  }
  while (state_.step < result_.total_steps && stop.requested() == 0) {
    train_step();
    if (parts_.validation != nullptr && is_due(options_.eval_steps)) evaluate_and_log();
    saved = is_due(options_.save_steps);
    if (saved) save();
  }
  const bool finished = state_.step >= result_.total_steps;
  if (!finished && !saved && state_.step > 0) save();
  progress_->finish();
  if (finished) parts_.save_result(options_.output_dir);
  result_.step = state_.step;
  result_.stop_signal = finished ? 0 : stop.requested();
  result_.first_eval_loss = state_.first_eval_loss;
  result_.seconds = seconds_now() - begin;
  return result_;
}

}  // namespace shira
