// Reading scheduler_config.json from hostile hands.
#include "io/temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/tasks/scheduler_config.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace shira {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

SchedulerConfig parse(std::string_view text) {
  const TemporaryDirectory directory;
  write_file(directory.path() / "scheduler_config.json", text);
  return read_scheduler_config(directory.path() / "scheduler_config.json");
}

TEST(SchedulerConfig, AnAbsentKeyHasTheDefaultOfDiffusers) {
  const SchedulerConfig config = parse(R"({"_class_name": "DDIMScheduler"})");
  EXPECT_EQ(config.class_name, "DDIMScheduler");
  EXPECT_EQ(config.num_train_timesteps, 1000);
  EXPECT_EQ(config.beta_schedule, "linear");
  EXPECT_TRUE(config.clip_sample);
  EXPECT_FALSE(config.timestep_spacing.has_value());
}

TEST(SchedulerConfig, KeysThatTheWriterLeftAtItsDefaultDoNotCount) {
  const SchedulerConfig config = parse(
      R"({"timestep_spacing": "linspace", "beta_end": 0.5, "_use_default_values": ["timestep_spacing"]})");
  EXPECT_FALSE(config.timestep_spacing.has_value());
  EXPECT_EQ(config.beta_end, 0.5);
}

TEST(SchedulerConfig, UnderstandsPythonsInfinities) {
  const SchedulerConfig config =
      parse(R"({"lambda_min_clipped": -Infinity, "other \" Infinity": [Infinity, NaN]})");
  EXPECT_EQ(config.lambda_min_clipped, -INFINITY);
}

TEST(SchedulerConfig, ListsEveryProblemAtOnce) {
  EXPECT_THAT(
      [] {
        parse(R"({"num_train_timesteps": 0, "beta_start": -1, "beta_end": Infinity,
                  "beta_schedule": "sigmoid", "trained_betas": [0.5, 2], "prediction_type": "flow",
                  "timestep_spacing": "random", "steps_offset": -1, "clip_sample": null,
                  "clip_sample_range": 0, "sigma_min": 2, "sigma_max": 1, "solver_order": "2",
                  "lambda_min_clipped": NaN, "thresholding": 1})");
      },
      ThrowsMessage<ConfigError>(AllOf(
          AllOf(HasSubstr("num_train_timesteps: "), HasSubstr("beta_start: "),
                HasSubstr("beta_end: "), HasSubstr("beta_schedule: "), HasSubstr("trained_betas: "),
                HasSubstr("prediction_type: expected one of epsilon, sample, v_prediction"),
                HasSubstr("timestep_spacing: "), HasSubstr("steps_offset: ")),
          AllOf(HasSubstr("clip_sample: "), HasSubstr("clip_sample_range: "),
                HasSubstr("sigma_max: "), HasSubstr("solver_order: "),
                HasSubstr("lambda_min_clipped: "), HasSubstr("thresholding: ")))));
}

TEST(SchedulerConfig, RefusesWhatIsNoJsonObject) {
  for (const char* text :
       {"", "[1]", "{\"a\": xInfinity}", "{\"a\": 1, \"a\": 2}", "{\"a\": 1e999}"}) {
    EXPECT_THAT([&] { parse(text); }, ThrowsMessage<IoError>(HasSubstr("scheduler_config.json: ")))
        << text;
  }
}

}  // namespace
}  // namespace shira
