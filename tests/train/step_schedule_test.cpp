// Positions by hand: epochs of 5, 3 and 4 batches in groups of 2 are 3, 2 and 2 steps.
#include <shira/train/step_schedule.h>

#include <gtest/gtest.h>

#include <array>
#include <tuple>

namespace shira {
namespace {

StepSchedule schedule(std::int64_t group) {
  return {[](std::int64_t epoch) { return std::array<std::int64_t, 3>{5, 3, 4}[epoch % 3]; },
          group};
}

auto position(StepSchedule& steps, std::int64_t step) {
  const StepBatches batches = steps.batches_of(step);
  return std::tuple(batches.epoch, batches.first, batches.end);
}

TEST(StepSchedule, GroupsEndWithTheirEpoch) {
  StepSchedule steps = schedule(2);
  EXPECT_EQ(position(steps, 0), std::tuple(0, 0, 2));
  EXPECT_EQ(position(steps, 2), std::tuple(0, 4, 5));
  EXPECT_EQ(position(steps, 3), std::tuple(1, 0, 2));
  EXPECT_EQ(position(steps, 4), std::tuple(1, 2, 3));
  EXPECT_EQ(position(steps, 6), std::tuple(2, 2, 4));
}

TEST(StepSchedule, APositionDoesNotDependOnWhatWasAskedBefore) {
  StepSchedule fresh = schedule(2);
  EXPECT_EQ(position(fresh, 6), std::tuple(2, 2, 4));
  EXPECT_EQ(position(fresh, 0), std::tuple(0, 0, 2));
}

TEST(StepSchedule, CountsTheStepsOfEpochs) {
  StepSchedule steps = schedule(2);
  EXPECT_EQ(steps.steps_in(1), 3);
  EXPECT_EQ(steps.steps_in(3), 7);
  EXPECT_EQ(steps.steps_in(0.5), 2);   // 1.5 of 3
  EXPECT_EQ(steps.steps_in(1.25), 4);  // 3 + 0.5 of 2
}

TEST(StepSchedule, TellsTheEpochAsAFraction) {
  StepSchedule steps = schedule(2);
  EXPECT_DOUBLE_EQ(steps.epochs_after(0), 0.0);
  EXPECT_DOUBLE_EQ(steps.epochs_after(1), 1.0 / 3.0);
  EXPECT_DOUBLE_EQ(steps.epochs_after(3), 1.0);
  EXPECT_DOUBLE_EQ(steps.epochs_after(4), 1.5);
}

}  // namespace
}  // namespace shira
