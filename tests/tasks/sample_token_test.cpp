// Which token a uniform number picks, and what a repetition costs; the numbers can be checked by
// hand.
#include <shira/tasks/generation.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <cmath>

namespace shira {
namespace {

/// Logits of the probabilities 0.1, 0.5, 0.15, 0.25.
const torch::Tensor& logits() {
  static const torch::Tensor tensor = at::tensor({0.1, 0.5, 0.15, 0.25}).log();
  return tensor;
}

TEST(SampleToken, TemperatureZeroIsGreedy) {
  EXPECT_EQ(sample_token(logits(), {.temperature = 0.0}, 0.99), 1);
}

TEST(SampleToken, FollowsTheProbabilitiesInDescendingOrder) {
  const GenerateOptions options{.temperature = 1.0};
  EXPECT_EQ(sample_token(logits(), options, 0.0), 1);
  EXPECT_EQ(sample_token(logits(), options, 0.49), 1);
  EXPECT_EQ(sample_token(logits(), options, 0.51), 3);
  EXPECT_EQ(sample_token(logits(), options, 0.76), 2);
  EXPECT_EQ(sample_token(logits(), options, 0.95), 0);
}

TEST(SampleToken, TopKKeepsTheMostLikely) {
  const GenerateOptions options{.temperature = 1.0, .top_k = 2};
  EXPECT_EQ(sample_token(logits(), options, 0.65), 1);  // 0.5 / 0.75 = 0.667
  EXPECT_EQ(sample_token(logits(), options, 0.999), 3);
}

TEST(SampleToken, TopPKeepsTokensUntilTheMassIsReached) {
  EXPECT_EQ(sample_token(logits(), {.temperature = 1.0, .top_p = 0.6}, 0.999), 3);
  EXPECT_EQ(sample_token(logits(), {.temperature = 1.0, .top_p = 0.4}, 0.999), 1);
  EXPECT_EQ(sample_token(logits(), {.temperature = 1.0, .top_p = 0.0}, 0.999), 1);
}

TEST(PenalizeRepetition, LowersTheScoreOfEachSeenTokenOnce) {
  const torch::Tensor scores = at::tensor({4.0, -4.0, 1.0, 0.0, -1.0}, torch::kFloat32);
  EXPECT_TRUE(penalize_repetition(scores, {0, 1, 1, 3, 0}, 2.0)
                  .equal(at::tensor({2.0, -8.0, 1.0, 0.0, -1.0}, torch::kFloat32)));
  EXPECT_TRUE(penalize_repetition(scores, {4}, 0.5)
                  .equal(at::tensor({4.0, -4.0, 1.0, 0.0, -0.5}, torch::kFloat32)));
}

TEST(PenalizeRepetition, ComputesHalfPrecisionInFloat32) {
  const torch::Tensor scores = at::tensor({3.0, 1.0}, torch::kFloat32).to(torch::kBFloat16);
  EXPECT_EQ(penalize_repetition(scores, {0}, 7.0)[0].item<float>(), 3.0F / 7.0F);
}

TEST(SampleToken, LowTemperatureSharpens) {
  EXPECT_EQ(sample_token(logits(), {.temperature = 0.1}, 0.99), 1);
}

}  // namespace
}  // namespace shira
