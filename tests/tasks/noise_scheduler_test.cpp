// The order of steps and what a sampler may be asked; cli/test_noise_schedulers.py holds the
// numbers against diffusers.
#include <shira/base/error.h>
#include <shira/tasks/noise_scheduler.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shira {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

SchedulerConfig latents() {
  return {.beta_start = 0.00085,
          .beta_end = 0.012,
          .beta_schedule = "scaled_linear",
          .clip_sample = false,
          .skip_prk_steps = true};
}

torch::Tensor run(NoiseScheduler& scheduler, const torch::Tensor& start) {
  const at::Generator generator = at::detail::createCPUGenerator(3);
  torch::Tensor x = start * scheduler.init_noise_sigma();
  for (std::size_t i = 0; i < scheduler.timesteps().size(); ++i) {
    x = scheduler.step(scheduler.scale_model_input(x, i).sin(), i, x, generator);
  }
  return x;
}

TEST(NoiseScheduler, RunsOneTrajectoryAfterAnother) {
  const torch::Tensor start = at::linspace(-1.0, 1.0, 6).view({2, 3});
  for (const std::string& name : noise_scheduler_names()) {
    const auto scheduler = make_noise_scheduler(latents(), name, 7);
    scheduler->step(start, 0, start);  // a trajectory that was given up
    const torch::Tensor first = run(*scheduler, start);
    EXPECT_TRUE(first.equal(run(*scheduler, start))) << name;
    EXPECT_TRUE(first.isfinite().all().item<bool>()) << name;
  }
}

TEST(NoiseScheduler, RefusesStepsOutOfOrder) {
  const torch::Tensor x = at::ones({1, 3});
  const auto scheduler = make_noise_scheduler(latents(), "dpmpp_2m", 2);
  EXPECT_THAT([&] { scheduler->step(x, 1, x); }, ThrowsMessage<Error>(HasSubstr("step 0 is due")));
  scheduler->step(x, 0, x);
  scheduler->step(x, 1, x);
  EXPECT_THAT([&] { scheduler->step(x, 2, x); },
              ThrowsMessage<Error>(HasSubstr("step 2 of 2 is out of order")));
}

TEST(NoiseScheduler, RefusesAnOutputOfAnotherShape) {
  const auto scheduler = make_noise_scheduler(latents(), "ddim", 2);
  EXPECT_THROW(scheduler->step(at::ones({1, 6}), 0, at::ones({1, 3})), ShapeError);
}

TEST(NoiseScheduler, ListsEverythingThatASamplerCannotHonour) {
  SchedulerConfig config = latents();
  config.thresholding = true;
  config.solver_order = 4;
  EXPECT_THAT(
      [&] { make_noise_scheduler(config, "dpmpp_2m", 5); },
      ThrowsMessage<ConfigError>(AllOf(HasSubstr("thresholding: "), HasSubstr("solver_order: "))));
}

TEST(NoiseScheduler, DrawsNothingWhereASamplerAddsNoNoise) {
  const torch::Tensor x = at::ones({1, 3});
  for (const std::string& name : noise_scheduler_names()) {
    const at::Generator generator = at::detail::createCPUGenerator(3);
    const torch::Tensor state = generator.get_state();
    make_noise_scheduler(latents(), name, 5)->step(x, 0, x, generator);
    EXPECT_EQ(generator.get_state().equal(state), name != "ddpm" && name != "euler_ancestral")
        << name;
  }
}

}  // namespace
}  // namespace shira
