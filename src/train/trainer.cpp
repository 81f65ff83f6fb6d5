// The batches of a step, and what is random in it, are functions of the step, so that a checkpoint
// needs its number, the trained tensors and the optimiser's.
#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/kernels/philox.h>
#include <shira/train/gradients.h>
#include <shira/train/trainer.h>

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

namespace shira {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  if (values.empty()) return 0.0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

using Facts = std::map<std::string, std::string>;

constexpr const char* kTrainData = "training data";  // its fact is a fingerprint

std::string fact_of(const Facts& facts, const std::string& key) {
  const auto found = facts.find(key);
  return found == facts.end() || found->second.empty() ? "not set" : found->second;
}

/// "key: was X, now Y" for each entry that differs.
std::string differences(const Facts& was, const Facts& now) {
  Facts keys = now;
  keys.insert(was.begin(), was.end());
  std::string text;
  for (const auto& [key, value] : keys) {
    const std::string before = fact_of(was, key), after = fact_of(now, key);
    if (before == after) continue;
    text += "\n  " + key + ": ";
    text += key == kTrainData ? "other samples, or cut, cropped or ordered in another way"
                              : "was " + before + ", now " + after;
  }
  return text;
}

const char* name_of(LrKind kind) {
  if (kind == LrKind::kConstant) return "constant";
  return kind == LrKind::kLinear ? "linear" : "cosine";
}

}  // namespace

Trainer::Trainer(TrainerParts parts, TrainerOptions options)
    : parts_(std::move(parts)),
      options_(std::move(options)),
      reader_(parts_.train),
      steps_([this](std::int64_t epoch) { return reader_.batches_in_epoch(epoch); },
             options_.gradient_accumulation_steps),
      total_steps_(options_.max_steps ? *options_.max_steps : steps_.steps_in(options_.num_epochs)),
      schedule_{options_.lr_scheduler, options_.learning_rate,
                count_warmup_steps(options_.warmup_steps, options_.warmup_ratio, total_steps_),
                total_steps_} {}

std::map<std::string, std::string> Trainer::identity() const {
  auto identity = options_.identity;
  identity[kTrainData] = std::to_string(parts_.train.fingerprint());
  identity["gradient_accumulation_steps"] = std::to_string(options_.gradient_accumulation_steps);
  return identity;
}

std::map<std::string, std::string> Trainer::surroundings() const {
  auto surroundings = options_.surroundings;
  surroundings["learning rate schedule"] =
      detail::concat(name_of(schedule_.kind), ", peak ", schedule_.peak, ", warm-up ",
                     schedule_.warmup_steps, ", total ", schedule_.total_steps);
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
  SHIRA_CHECK(ConfigError, state_.step <= total_steps_, checkpoint.string(), ": is beyond the ",
              total_steps_, " steps of this configuration. Raise max_steps or num_epochs.");
  const std::string other = differences(state_.surroundings, surroundings());
  if (!other.empty()) log_warning("the resumed run will not equal an uninterrupted one:" + other);
  parts_.method.publish();
  saved_step_ = state_.step;
  forget_missing_best();
  log_info("resumed from " + checkpoint.string());
}

/// Where load_best_model_at_end was not set before, or the run was in another directory, nobody
/// kept the best checkpoint: the coming ones compete afresh.
void Trainer::forget_missing_best() {
  const auto best = checkpoint_path(options_.output_dir, state_.best_step);
  if (!options_.load_best_model_at_end || !state_.best_eval_loss) return;
  if (std::filesystem::exists(best)) return;
  log_warning(best.string() + ", the best so far, is gone: only later evaluations count.");
  state_.best_eval_loss.reset();
  state_.best_step = 0;
}

void Trainer::start() {
  std::error_code error;
  std::filesystem::create_directories(options_.output_dir, error);
  SHIRA_CHECK(ConfigError, !error && std::filesystem::is_directory(options_.output_dir),
              "output_dir ", options_.output_dir.string(), ": cannot be made: ", error.message(),
              ".");
  lock_ = std::make_unique<DirectoryLock>(options_.output_dir);
  prune_checkpoints(options_.output_dir, 0);
  if (options_.resume_from) {
    restore(*options_.resume_from);
  } else {
    state_.identity = identity();
  }
  state_.surroundings = surroundings();
  log_ = std::make_unique<RunLog>(
      options_.output_dir, RunLogOptions{.total_steps = total_steps_,
                                         .first_step = options_.resume_from ? state_.step : -1,
                                         .evaluated_step = state_.evaluated_step,
                                         .logging_steps = options_.logging_steps,
                                         .tensorboard = options_.tensorboard,
                                         .units = options_.units});
}

Trainer::Group Trainer::fetch_group() {
  const StepBatches step = steps_.batches_of(state_.step);
  Group group{step.epoch, step.first, {}};
  for (std::int64_t number = step.first; number < step.end; ++number) {
    group.batches.push_back(reader_.batch(step.epoch, number));
  }
  return group;
}

/// LibTorch's generators start anew in each step.
void Trainer::seed_step() {
  PhiloxStream stream(options_.seed, "step " + std::to_string(state_.step));
  at::manual_seed(stream.next_u64());
}

double Trainer::backward(const Group& group, std::size_t i, std::int64_t terms) {
  const double loss = add_gradients(parts_.objective, group.batches[i], terms);
  SHIRA_CHECK(Error, std::isfinite(loss), "step ", state_.step + 1, ", batch ",
              group.first + static_cast<std::int64_t>(i), " of epoch ", group.epoch,
              ": the loss is ", loss, ". ", advice());
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

void Trainer::train_step() {
  const double begin = seconds_now();
  Group group = fetch_group();
  std::int64_t terms = 0;
  std::int64_t items = 0;
  for (const Batch& batch : group.batches) {
    terms += parts_.objective.term_count(batch);
    items += parts_.objective.item_count(batch);
  }
  const std::vector<NamedTensor> parameters = parts_.method.parameters();
  clear_gradients(parameters);
  double loss = 0.0;
  seed_step();
  parts_.method.set_training(true);
  for (std::size_t i = 0; i < group.batches.size(); ++i) {
    loss += backward(group, i, std::max<std::int64_t>(terms, 1));
  }
  parts_.method.set_training(false);
  const double grad_norm = clip_gradients(parameters, options_.max_grad_norm);
  SHIRA_CHECK(Error, std::isfinite(grad_norm), "step ", state_.step + 1, ": the gradient norm is ",
              grad_norm, ". ", advice());
  parts_.optimizer.step(learning_rate_at(schedule_, state_.step));
  parts_.method.publish();
  ++state_.step;
  state_.window_loss += loss;
  state_.window_terms += terms;
  items_ += items;
  step_seconds_.push_back(seconds_now() - begin);
  state_.train_seconds += step_seconds_.back();
  last_group_ = std::move(group);
  log_step(items, step_seconds_.back(), grad_norm);
}

void Trainer::log_step(std::int64_t items, double seconds, double grad_norm) {
  const auto terms = static_cast<double>(std::max<std::int64_t>(state_.window_terms, 1));
  const StepNumbers numbers{steps_.epochs_after(state_.step),
                            state_.window_loss / terms,
                            learning_rate_at(schedule_, state_.step - 1),
                            grad_norm,
                            static_cast<double>(items) / seconds,
                            state_.train_seconds};
  log_->progress(state_.step, numbers);
  if (state_.step % options_.logging_steps != 0 && state_.step != total_steps_) return;
  log_->log_step(state_.step, numbers);
  state_.window_loss = 0.0;
  state_.window_terms = 0;
}

bool Trainer::is_due(std::int64_t every) const {
  return state_.step == total_steps_ || (every > 0 && state_.step > 0 && state_.step % every == 0);
}

bool Trainer::is_evaluation_due() const {
  if (parts_.validation == nullptr && !parts_.samples) return false;
  return state_.evaluated_step != state_.step && (state_.step == 0 || is_due(options_.eval_steps));
}

bool Trainer::has_lost_patience() const {
  return options_.early_stopping_patience &&
         state_.evaluations_without_improvement >= *options_.early_stopping_patience;
}

/// An evaluation that a signal broke off is made up for before the run counts as done.
bool Trainer::is_done() const {
  return (state_.step >= total_steps_ || has_lost_patience()) && !is_evaluation_due();
}

/// The mean held-out loss; nothing when a signal came in between.
std::optional<double> Trainer::evaluate(const StopSignal& stop) {
  torch::NoGradGuard no_grad;
  double sum = 0.0;
  std::int64_t terms = 0;
  for (std::int64_t i = 0; i < parts_.validation->batches_in_epoch(0); ++i) {
    if (stop.requested() != 0) return std::nullopt;
    const Batch batch = parts_.validation->batch(0, i);
    sum += parts_.objective.loss_sum(batch).item<double>();
    terms += parts_.objective.term_count(batch);
  }
  return sum / static_cast<double>(std::max<std::int64_t>(terms, 1));
}

/// The untrained model's loss is no candidate for the best one, and a NaN never is.
void Trainer::note_loss(double loss) {
  if (!state_.first_eval_loss) state_.first_eval_loss = loss;
  state_.last_eval_loss = loss;
  if (!std::isfinite(loss)) {
    log_warning(detail::concat("step ", state_.step, ": the held-out loss is ", loss,
                               ". Look at the held-out samples, or lower learning_rate."));
  }
  if (state_.step == 0) return;
  const bool is_better =
      std::isfinite(loss) && (!state_.best_eval_loss || loss < *state_.best_eval_loss);
  state_.evaluations_without_improvement =
      is_better ? 0 : state_.evaluations_without_improvement + 1;
  if (!is_better) return;
  state_.best_eval_loss = loss;
  state_.best_step = state_.step;
}

void Trainer::evaluate_and_log(const StopSignal& stop) {
  if (parts_.validation != nullptr) {
    const auto loss = evaluate(stop);
    if (!loss) return;
    note_loss(*loss);
    log_->log_evaluation(state_.step, *loss, state_.train_seconds);
  }
  if (parts_.samples) {
    for (const SampleText& sample : parts_.samples(state_.step)) {
      log_->log_sample(state_.step, sample);
    }
  }
  state_.evaluated_step = state_.step;
  saved_step_ = -1;
  if (options_.load_best_model_at_end && state_.best_step == state_.step) save();
}

/// A step can wreck the weights, which no loss has shown yet: only what gives a finite one is
/// saved.
void Trainer::check_weights() {
  if (last_group_.batches.empty()) return;  // as they were restored
  torch::NoGradGuard no_grad;
  const auto loss = parts_.objective.loss_sum(last_group_.batches.front()).item<double>();
  SHIRA_CHECK(Error, std::isfinite(loss), "after step ", state_.step, ", batch ", last_group_.first,
              " of epoch ", last_group_.epoch, ": the loss is ", loss, ". ", advice());
}

void Trainer::save() {
  if (state_.step == 0 || saved_step_ == state_.step) return;
  check_weights();
  save_checkpoint(options_.output_dir, state_, state_tensors(), parts_.save_result);
  saved_step_ = state_.step;
  const bool keeps_best = options_.load_best_model_at_end && state_.best_step > 0;
  prune_checkpoints(options_.output_dir, options_.save_total_limit,
                    keeps_best ? std::optional(state_.best_step) : std::nullopt);
}

void Trainer::train_until_done(const StopSignal& stop) {
  while (!is_done() && stop.requested() == 0) {
    if (!is_evaluation_due()) train_step();
    if (is_evaluation_due()) evaluate_and_log(stop);
    if (is_due(options_.save_steps) || is_done()) save();
  }
  if (!is_done()) save();
}

/// The best checkpoint's weights, if they are wanted and not the last ones.
void Trainer::save_final_result() {
  const bool wants_best = options_.load_best_model_at_end && state_.best_step != state_.step;
  if (wants_best && state_.best_step > 0) {
    load_checkpoint(checkpoint_path(options_.output_dir, state_.best_step), state_tensors());
    parts_.method.publish();
    log_info(detail::concat("the result is that of step ", state_.best_step, ", eval_loss ",
                            *state_.best_eval_loss));
  }
  parts_.save_result(options_.output_dir);
}

TrainResult Trainer::result(double seconds, int stop_signal) {
  const double training = std::accumulate(step_seconds_.begin(), step_seconds_.end(), 0.0);
  return {.step = state_.step,
          .total_steps = total_steps_,
          .stop_signal = stop_signal,
          .stopped_early = has_lost_patience() && state_.step < total_steps_,
          .first_eval_loss = state_.first_eval_loss,
          .last_eval_loss = state_.last_eval_loss,
          .evaluated_step = state_.evaluated_step,
          .best_eval_loss = state_.best_eval_loss,
          .best_step = state_.best_step,
          .seconds = seconds,
          .median_step_seconds = median(step_seconds_),
          .items = items_,
          .items_per_second = training > 0.0 ? static_cast<double>(items_) / training : 0.0};
}

TrainResult Trainer::run() {
  const StopSignal stop;
  if (!log_) start();
  const double begin = seconds_now();
  train_until_done(stop);
  if (is_done()) save_final_result();
  log_->finish();
  return result(seconds_now() - begin, is_done() ? 0 : stop.requested());
}

}  // namespace shira
