// The trainer on a problem of one number, with held-out losses that are made up.
#include "io/temporary_directory.h"

#include <shira/data/data_loader.h>
#include <shira/train/trainer.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <cmath>

namespace shira {
namespace {

/// A sample's one id says what it is.
constexpr std::int64_t kTraining = 1, kHeldOut = 2;

class OneNumber : public TrainingMethod {
 public:
  std::vector<NamedTensor> parameters() const override { return {{"value", value_}}; }
  void publish() override {}

 private:
  torch::Tensor value_ = at::zeros({1}).requires_grad_();
};

/// (value - 1)^2 for training samples; the given losses, one an evaluation, for the held-out one.
class MadeUp : public Objective {
 public:
  MadeUp(TrainingMethod& method, std::vector<double> losses)
      : value_(method.parameters()[0].second), losses_(std::move(losses)) {}

  torch::Tensor loss_sum(const Batch& batch) override {
    const bool held_out = batch.at("input_ids").eq(kHeldOut).any().item<bool>();
    return held_out ? at::scalar_tensor(losses_.at(evaluations_++)) : (value_ - 1).square().sum();
  }
  std::int64_t term_count(const Batch&) const override { return 1; }
  std::int64_t item_count(const Batch&) const override { return 1; }

 private:
  torch::Tensor value_;
  std::vector<double> losses_;
  std::size_t evaluations_ = 0;
};

DataLoader one_sample(std::int64_t kind) {
  std::vector<SampleSet> sets(1);
  sets[0].samples = {{{kind, kind}, {kind, kind}}};
  return {std::move(sets), {}};
}

TrainResult run(const std::vector<double>& held_out, TrainerOptions options) {
  const TemporaryDirectory directory;
  OneNumber method;
  MadeUp objective(method, held_out);
  const auto optimizer = make_sgd(method.parameters(), {});
  DataLoader training = one_sample(kTraining), validation = one_sample(kHeldOut);
  options.max_steps = static_cast<std::int64_t>(held_out.size()) - 1;
  options.eval_steps = 1;
  options.load_best_model_at_end = true;
  options.output_dir = directory.path();
  return Trainer({method, objective, *optimizer, training, &validation, [](const auto&) {}, {}},
                 options)
      .run();
}

TEST(Trainer, ANanHeldOutLossIsNeverTheBestAndLosesNothing) {
  const TrainResult result = run({1.0, NAN, 0.75, NAN}, {});
  EXPECT_EQ(result.step, 3);
  EXPECT_EQ(result.best_step, 2);
  EXPECT_EQ(result.best_eval_loss, 0.75);
}

TEST(Trainer, WithNothingButNansTheResultIsTheLastStep) {
  const TrainResult result = run({NAN, NAN, NAN}, {});
  EXPECT_EQ(result.step, 2);
  EXPECT_EQ(result.best_eval_loss, std::nullopt);
}

TEST(Trainer, PatienceCountsEvaluationsInARowAndNotTheUntrainedModel) {
  TrainerOptions options;
  options.early_stopping_patience = 2;
  const TrainResult result = run({0.1, 0.9, 0.8, 0.85, 0.7, 0.75, 0.75, 0.6}, options);
  EXPECT_TRUE(result.stopped_early);
  EXPECT_EQ(result.step, 6);
  EXPECT_EQ(result.best_step, 4);
}

}  // namespace
}  // namespace shira
