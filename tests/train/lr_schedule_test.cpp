// Learning rates against transformers 5.23. The numbers were printed by
//
//   from transformers import get_scheduler; import torch
//   for name in ("constant_with_warmup", "linear", "cosine"):
//     for warmup in (0, 4):
//       sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
//       s = get_scheduler(name, sgd, num_warmup_steps=warmup, num_training_steps=10)
//       for _ in range(12): print(repr(s.get_last_lr()[0])); sgd.step(); s.step()
#include <shira/base/error.h>
#include <shira/train/lr_schedule.h>

#include <gtest/gtest.h>

#include <array>

namespace shira {
namespace {

using TwelveRates = std::array<double, 12>;

void expect_rates(const LrSchedule& schedule, const TwelveRates& expected) {
  for (std::size_t step = 0; step < expected.size(); ++step) {
    const double rate = learning_rate_at(schedule, static_cast<std::int64_t>(step));
    EXPECT_NEAR(rate, expected[step], 1e-16) << "step " << step;
  }
}

TEST(LrSchedule, ConstantEqualsTransformers) {
  expect_rates({LrKind::kConstant, 1.0, 0, 10}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  expect_rates({LrKind::kConstant, 1.0, 4, 10}, {0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1, 1});
}

TEST(LrSchedule, LinearEqualsTransformers) {
  expect_rates({LrKind::kLinear, 1.0, 0, 10},
               {1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0, 0.0});
  expect_rates({LrKind::kLinear, 1.0, 4, 10},
               {0.0, 0.25, 0.5, 0.75, 1.0, 0.8333333333333334, 0.6666666666666666, 0.5,
                0.3333333333333333, 0.16666666666666666, 0.0, 0.0});
}

TEST(LrSchedule, CosineEqualsTransformersAlsoPastTheEnd) {
  expect_rates({LrKind::kCosine, 1.0, 0, 10},
               {1.0, 0.9755282581475768, 0.9045084971874737, 0.7938926261462366, 0.6545084971874737,
                0.5, 0.34549150281252633, 0.2061073738537635, 0.09549150281252633,
                0.024471741852423234, 0.0, 0.024471741852423234});
  expect_rates({LrKind::kCosine, 1.0, 4, 10},
               {0.0, 0.25, 0.5, 0.75, 1.0, 0.9330127018922194, 0.75, 0.5, 0.2500000000000001,
                0.06698729810778065, 0.0, 0.0669872981077807});
}

TEST(LrSchedule, PeakScalesTheRate) {
  EXPECT_EQ(learning_rate_at({LrKind::kLinear, 5e-4, 0, 10}, 0), 5e-4);
  EXPECT_EQ(learning_rate_at({LrKind::kLinear, 5e-4, 4, 10}, 1), 5e-4 * 0.25);
}

TEST(LrSchedule, WarmupLongerThanTheRunNeverDecays) {
  for (const LrKind kind : {LrKind::kConstant, LrKind::kLinear, LrKind::kCosine}) {
    EXPECT_EQ(learning_rate_at({kind, 1.0, 20, 10}, 9), 0.45);
  }
}

TEST(LrSchedule, NamesAreThoseOfTheConfiguration) {
  EXPECT_EQ(parse_lr_kind("constant"), LrKind::kConstant);
  EXPECT_EQ(parse_lr_kind("linear"), LrKind::kLinear);
  EXPECT_EQ(parse_lr_kind("cosine"), LrKind::kCosine);
  EXPECT_THROW(parse_lr_kind("polynomial"), ConfigError);
}

TEST(LrSchedule, WarmupIsACountOrAShareRoundedUp) {
  EXPECT_EQ(count_warmup_steps(7, std::nullopt, 100), 7);
  EXPECT_EQ(count_warmup_steps(std::nullopt, 0.05, 101), 6);
  EXPECT_EQ(count_warmup_steps(std::nullopt, std::nullopt, 100), 0);
}

}  // namespace
}  // namespace shira
