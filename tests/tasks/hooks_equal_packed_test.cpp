// Two ways to the same weights: packed training, and ordinary training with gradient hooks. In
// float64 they must agree to rounding over whole runs of the trainer.
#include "io/temporary_directory.h"
#include "models/tiny_llama.h"

#include <shira/data/data_loader.h>
#include <shira/methods/hooked_shira.h>
#include <shira/methods/packed_shira.h>
#include <shira/sparse/mask_builders.h>
#include <shira/tasks/causal_lm.h>
#include <shira/train/trainer.h>

#include <ATen/Context.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace shira {
namespace {

struct Setting {
  const char* optimizer;
  std::int64_t accumulation;
  double max_grad_norm;
};

/// The same at every call.
Llama same_llama(torch::ScalarType dtype) {
  at::manual_seed(7);
  return tiny_llama(dtype);
}

std::vector<SampleSet> samples() {
  std::vector<SampleSet> sets(1);
  for (std::int64_t i = 0; i < 12; ++i) {
    Sample sample;
    for (std::int64_t t = 0; t < 5 + i % 4; ++t) sample.ids.push_back((i * 7 + t * t * 3) % 17);
    sample.labels = sample.ids;
    sets[0].samples.push_back(sample);
  }
  return sets;
}

struct Trained {
  std::vector<double> losses;
  std::vector<torch::Tensor> weights;
};

std::vector<double> losses_of(const std::filesystem::path& metrics) {
  std::vector<double> losses;
  std::ifstream lines(metrics);
  for (std::string line; std::getline(lines, line);) {
    losses.push_back(nlohmann::json::parse(line).at("loss").get<double>());
  }
  return losses;
}

Trained train(const Llama& model, TrainingMethod& method, const Setting& setting) {
  const TemporaryDirectory directory;
  CausalLmObjective objective(model);
  const auto optimizer = std::string_view(setting.optimizer) == "sgd"
                             ? make_sgd(method.parameters(), {})
                             : make_adamw(method.parameters(), {});
  DataLoader data(samples(), {.batch_size = 2, .shuffle_seed = 1});
  TrainerOptions options;
  options.max_steps = 20;
  options.gradient_accumulation_steps = setting.accumulation;
  options.max_grad_norm = setting.max_grad_norm;
  options.learning_rate = std::string_view(setting.optimizer) == "sgd" ? 0.5 : 0.01;
  options.logging_steps = 1;
  options.output_dir = directory.path();
  Trainer({method, objective, *optimizer, data, nullptr, [](const auto&) {}, nullptr}, options)
      .run();
  Trained trained{losses_of(directory.path() / "metrics.jsonl"), {}};
  for (const torch::Tensor& weight : model->parameters()) {
    trained.weights.push_back(weight.detach().clone());
  }
  return trained;
}

MaskMap masks_of(const Llama& model) {
  return build_masks(target_weights(select_targets(*model, {"all-linear"})),
                     rand_mask({.density = 0.1}, 5));
}

Trained train_packed(torch::ScalarType dtype, const Setting& setting) {
  const Llama model = same_llama(dtype);
  PackedShira shira(select_targets(*model, {"all-linear"}), masks_of(model));
  return train(model, shira, setting);
}

Trained train_with_hooks(torch::ScalarType dtype, const Setting& setting) {
  const Llama model = same_llama(dtype);
  HookedShira shira(*model, masks_of(model));
  return train(model, shira, setting);
}

double largest_loss_difference(const Trained& a, const Trained& b) {
  double largest = 0.0;
  for (std::size_t i = 0; i < a.losses.size(); ++i) {
    largest = std::max(largest, std::abs(a.losses[i] - b.losses[i]));
  }
  return largest;
}

double largest_weight_difference(const Trained& a, const Trained& b) {
  double largest = 0.0;
  for (std::size_t i = 0; i < a.weights.size(); ++i) {
    largest = std::max(largest, (a.weights[i] - b.weights[i]).abs().max().item<double>());
  }
  return largest;
}

/// Relative to each tensor's largest entry.
double largest_relative_difference(const Trained& a, const Trained& b) {
  double largest = 0.0;
  for (std::size_t i = 0; i < a.weights.size(); ++i) {
    const auto scale = b.weights[i].abs().max().item<double>();
    const auto error = (a.weights[i] - b.weights[i]).abs().max().item<double>();
    largest = std::max(largest, error / scale);
  }
  return largest;
}

class HooksEqualPacked : public ::testing::TestWithParam<Setting> {};

TEST_P(HooksEqualPacked, InFloat64WeightsAndLossesAgreeToRounding) {
  const Trained packed = train_packed(torch::kFloat64, GetParam());
  const Trained hooked = train_with_hooks(torch::kFloat64, GetParam());
  ASSERT_EQ(packed.losses.size(), 20U);
  EXPECT_LE(largest_loss_difference(packed, hooked), 1e-9);
  EXPECT_LE(largest_weight_difference(packed, hooked), 1e-9);
  const Trained untrained{{}, same_llama(torch::kFloat64)->parameters()};
  EXPECT_GT(largest_weight_difference(packed, untrained), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Settings, HooksEqualPacked,
                         ::testing::Values(Setting{"sgd", 1, 0.0}, Setting{"sgd", 3, 0.5},
                                           Setting{"adamw", 1, 0.0}, Setting{"adamw", 3, 0.5}));

TEST(HooksEqualPackedInFloat32, SgdWeightsWithinOneInAHundredThousand) {
  const Setting setting{"sgd", 2, 1.0};
  EXPECT_LE(largest_relative_difference(train_packed(torch::kFloat32, setting),
                                        train_with_hooks(torch::kFloat32, setting)),
            1e-5);
}

TEST(HooksEqualPackedInFloat32, AdamwLossesWithinOneInTenThousand) {
  const Setting setting{"adamw", 2, 1.0};
  EXPECT_LE(largest_loss_difference(train_packed(torch::kFloat32, setting),
                                    train_with_hooks(torch::kFloat32, setting)),
            1e-4);
}

}  // namespace
}  // namespace shira
