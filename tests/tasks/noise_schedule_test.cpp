// The forward process on four timesteps whose numbers can be checked by hand: betas of a half keep
// abar = 1/2, 1/4, 1/8, 1/16. (cli/test_noise_schedulers.py holds it against diffusers.)
#include <shira/base/error.h>
#include <shira/tasks/noise_schedule.h>

#include <ATen/Functions.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace shira {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

SchedulerConfig halving() {
  return {.num_train_timesteps = 4, .trained_betas = {0.5, 0.5, 0.5, 0.5}};
}

torch::Tensor steps(const std::vector<std::int64_t>& values) {
  return at::tensor(values, torch::kInt64);
}

TEST(NoiseSchedule, AddsTheNoiseOfEachSamplesTimestep) {
  const NoiseSchedule schedule(halving());
  const torch::Tensor samples = at::tensor({1.0F, 1.0F}).view({2, 1});
  const torch::Tensor noise = at::tensor({2.0F, 2.0F}).view({2, 1});
  const torch::Tensor noisy = schedule.add_noise(samples, noise, steps({1, 3}));
  EXPECT_FLOAT_EQ(noisy[0].item<float>(), 0.5F + 2 * std::sqrt(0.75F));
  EXPECT_FLOAT_EQ(noisy[1].item<float>(), 0.25F + 2 * std::sqrt(0.9375F));
}

TEST(NoiseSchedule, VelocityIsSignalTimesNoiseMinusSigmaTimesSample) {
  const torch::Tensor velocity =
      NoiseSchedule(halving()).velocity(at::ones({1, 1}), at::full({1, 1}, 2.0F), steps({1}));
  EXPECT_FLOAT_EQ(velocity.item<float>(), 2 * 0.5F - std::sqrt(0.75F));
}

TEST(NoiseSchedule, SnrIsSignalToNoise) {
  const torch::Tensor snr = NoiseSchedule(halving()).snr(steps({0, 1, 3}));
  EXPECT_FLOAT_EQ(snr[0].item<float>(), 1.0F);
  EXPECT_FLOAT_EQ(snr[1].item<float>(), 1.0F / 3);
  EXPECT_FLOAT_EQ(snr[2].item<float>(), 1.0F / 15);
}

TEST(NoiseSchedule, ZeroSnrLeavesTheFirstTimestepAndNothingOfTheLast) {
  SchedulerConfig config = halving();
  config.rescale_betas_zero_snr = true;
  const torch::Tensor products = NoiseSchedule(config).alphas_cumprod();
  EXPECT_FLOAT_EQ(products[0].item<float>(), 0.5F);
  EXPECT_EQ(products[3].item<float>(), 0.0F);
}

TEST(NoiseSchedule, RefusesTimestepsOutOfRange) {
  const NoiseSchedule schedule(halving());
  const torch::Tensor sample = at::ones({1, 2});
  for (const std::int64_t timestep : {-1, 4}) {
    EXPECT_THAT([&] { schedule.add_noise(sample, sample, steps({timestep})); },
                ThrowsMessage<ShapeError>(HasSubstr("below 4")));
  }
}

TEST(NoiseSchedule, RefusesWhatDoesNotFit) {
  const NoiseSchedule schedule(halving());
  const torch::Tensor samples = at::ones({2, 3});
  EXPECT_THROW(schedule.add_noise(samples, at::ones({2, 1}), steps({0, 1})), ShapeError);
  EXPECT_THROW(schedule.add_noise(samples, samples, steps({0})), ShapeError);
  EXPECT_THROW(schedule.velocity(samples, samples, at::zeros({2})), ShapeError);
  EXPECT_THROW(schedule.snr(steps({4})), ShapeError);
}

TEST(NoiseSchedule, RefusesBetasItCannotMake) {
  EXPECT_THAT([] { NoiseSchedule({.beta_schedule = "sigmoid"}); },
              ThrowsMessage<ConfigError>(HasSubstr("beta_schedule: 'sigmoid'")));
  EXPECT_THAT([] { NoiseSchedule({.trained_betas = {0.5}}); },
              ThrowsMessage<ConfigError>(HasSubstr("num_train_timesteps = 1000")));
}

}  // namespace
}  // namespace shira
