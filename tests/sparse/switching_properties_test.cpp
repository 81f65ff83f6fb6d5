// Long random histories of a switcher: whatever happened, the weights are those of what is on, and
// nothing is left behind.
#include "io/expect_error.h"
#include "random_adapter.h"

#include <shira/base/error.h>
#include <shira/sparse/adapter_switcher.h>

#include <torch/cuda.h>

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <tuple>

namespace shira {
namespace {

/// CUDA cases are skipped where there is no device.
class SwitchingProperties
    : public testing::TestWithParam<std::tuple<torch::ScalarType, torch::DeviceType>> {
 protected:
  static torch::ScalarType dtype() { return std::get<0>(GetParam()); }
  static bool is_missing() {
    return std::get<1>(GetParam()) == torch::kCUDA && !torch::cuda::is_available();
  }
  static torch::TensorOptions options() {
    return torch::dtype(dtype()).device(is_missing() ? torch::kCPU : std::get<1>(GetParam()));
  }

  void SetUp() override {
    if (is_missing()) GTEST_SKIP() << "no CUDA device";
  }

  FewWeights model_{{{40, 60}, {300}, {8, 3, 3, 3}}, options()};
  std::vector<torch::Tensor> base_ = bits_of(model_);
  AdapterSwitcher switcher_{model_};

  /// Overlapping patches of one adapter, of several at scales, one that covers everything, none.
  std::vector<WeightPatch> make_patches() const {
    const auto random = [this](std::uint64_t seed, double density) {
      return random_adapter(model_, seed, density);
    };
    SparseAdapter part = random(9, 0.5);
    part.tensors.erase("b");
    return {switcher_.resolve({{random(1, 0.2)}}),
            switcher_.resolve({{random(2, 0.5), 0.7}}),
            switcher_.resolve({{random(3, 0.1)}, {random(4, 0.3), -0.4}, {random(5, 0.2), 1.0}}),
            switcher_.resolve({{random(6, 1.0)}}),
            switcher_.resolve({{random(7, 0.01), 0.0}}),
            switcher_.resolve({{part}, {random(8, 0.05), 0.5}}),
            WeightPatch()};
  }

  /// What the weights are with each patch on a clean base.
  std::vector<std::vector<torch::Tensor>> expected_bits(const std::vector<WeightPatch>& patches) {
    std::vector<std::vector<torch::Tensor>> expected;
    for (const WeightPatch& patch : patches) {
      switcher_.apply(patch);
      expected.push_back(bits_of(model_));
      switcher_.revert();
    }
    return expected;
  }
};

TEST_P(SwitchingProperties, AThousandSwitchesChangeNoBit) {
  const std::vector<WeightPatch> patches = make_patches();
  const auto expected = expected_bits(patches);
  std::mt19937 random(1);
  for (int step = 0; step < 1000; ++step) {
    const std::size_t next = random() % (patches.size() + 1);
    if (next == patches.size()) {
      switcher_.revert();
      ASSERT_TRUE(are_equal(bits_of(model_), base_)) << "step " << step;
      if (random() % 2 == 0) continue;
      switcher_.apply(patches[0]);
      ASSERT_TRUE(are_equal(bits_of(model_), expected[0])) << "step " << step;
    } else {
      switcher_.switch_to(patches[next]);
      ASSERT_TRUE(are_equal(bits_of(model_), expected[next])) << "step " << step;
    }
  }
  switcher_.revert();
  EXPECT_TRUE(are_equal(bits_of(model_), base_));
}

TEST_P(SwitchingProperties, ResolvingWhileAnythingIsOnSeesTheBase) {
  const SparseAdapter one = random_adapter(model_, 1), two = random_adapter(model_, 2, 0.4);
  const std::vector<ScaledAdapter> mixture{{one, 0.5}, {two, 1.0}};
  const WeightPatch clean = switcher_.resolve(mixture);
  for (const WeightPatch& patch : make_patches()) {
    switcher_.switch_to(patch);
    const WeightPatch meanwhile = switcher_.resolve(mixture);
    for (const auto& [name, entry] : meanwhile.entries()) {
      EXPECT_TRUE(bits(entry.patched).equal(bits(clean.entries().at(name).patched)));
      EXPECT_TRUE(bits(entry.original).equal(bits(clean.entries().at(name).original)));
    }
  }
}

TEST_P(SwitchingProperties, SwappingInIsResolvingAndSwitching) {
  const std::vector<std::vector<ScaledAdapter>> several{
      {{random_adapter(model_, 1)}},
      {{random_adapter(model_, 2), 0.5}},
      {{random_adapter(model_, 3)}, {random_adapter(model_, 4)}},
      {{random_adapter(model_, 5, 0.9)}}};
  for (const auto& adapters : several) {
    switcher_.switch_to(switcher_.resolve(adapters));
    const auto expected = bits_of(model_);
    switcher_.switch_to(switcher_.resolve({{random_adapter(model_, 6)}}, {.force = true}));
    const WeightPatch patch = switcher_.switch_to(adapters, {.force = true});
    EXPECT_TRUE(are_equal(bits_of(model_), expected));
    switcher_.revert();
    EXPECT_TRUE(are_equal(bits_of(model_), base_));
    switcher_.apply(patch);
    EXPECT_TRUE(are_equal(bits_of(model_), expected));
    switcher_.revert();
  }
}

TEST_P(SwitchingProperties, WhatDoesNotFitChangesNothing) {
  const WeightPatch on = switcher_.resolve({{random_adapter(model_, 1)}});
  const FewWeights other({{40, 60}, {300}, {8, 3, 3, 3}}, options());
  const FewWeights larger({{40, 60}, {301}}, options());
  const AdapterSwitcher larger_switcher(larger);
  const WeightPatch alien = larger_switcher.resolve({{random_adapter(larger, 2)}});
  // The last tensor alone was made for other values: what came before it has been swapped in.
  SparseAdapter late = random_adapter(model_, 3);
  late.tensors.at("c") = random_adapter(other, 4).tensors.at("c");
  SparseAdapter unknown = random_adapter(model_, 5);
  unknown.tensors.emplace("z", unknown.tensors.at("a"));
  for (const bool applied : {false, true}) {
    if (applied) switcher_.apply(on);
    const auto before = bits_of(model_);
    const auto expect_refused = [&](const auto& action, std::string_view word) {
      expect_error<Error>(action, {word});
      EXPECT_TRUE(are_equal(bits_of(model_), before));
      EXPECT_EQ(switcher_.is_applied(), applied);
    };
    expect_refused([&] { switcher_.switch_to(alien); }, "does not fit");
    expect_refused([&] { switcher_.apply(alien); }, applied ? "already applied" : "does not fit");
    expect_refused([&] { switcher_.switch_to({{late}}); }, "c: the base's values");
    expect_refused([&] { switcher_.switch_to({{unknown}}); }, "z: the model has no such parameter");
    expect_refused([&] { switcher_.resolve({{late}, {unknown}}); }, "z: the model has no");
  }
  switcher_.revert();
  EXPECT_TRUE(are_equal(bits_of(model_), base_));
}

TEST_P(SwitchingProperties, WholeTensorsGoOnAndComeOff) {
  SparseAdapter adapter = random_adapter(model_, 1);
  adapter.tensors.erase("b");
  adapter.whole.emplace("b", at::randn({300}).to(dtype()));
  const WeightPatch dense = switcher_.resolve({{adapter}});
  const WeightPatch sparse = switcher_.resolve({{random_adapter(model_, 2)}});
  const WeightPatch mixed = switcher_.resolve({{adapter, 0.5}, {random_adapter(model_, 2)}});
  for (int round = 0; round < 2; ++round) {
    for (const WeightPatch& patch : {dense, sparse, mixed, dense, mixed, sparse}) {
      switcher_.switch_to(patch);
      for (const auto& [name, entry] : patch.entries()) {
        const torch::Tensor weight = model_.named_parameters()[name];
        const torch::Tensor now = entry.is_dense() ? weight : gather_from(weight, entry.indices);
        EXPECT_TRUE(bits(now).equal(bits(entry.patched)));
      }
    }
  }
  switcher_.switch_to(dense);
  EXPECT_TRUE(bits(model_.named_parameters()["b"]).equal(bits(adapter.whole.at("b"))));
  EXPECT_TRUE(bits(switcher_.resolve({{adapter, 0.5}}).entries().at("b").original)
                  .equal(bits(dense.entries().at("b").original)));
  switcher_.revert();
  EXPECT_TRUE(are_equal(bits_of(model_), base_));
}

/// LibTorch's index operations, which weights on other devices take, against our kernels.
TEST_P(SwitchingProperties, BothKindsOfPositionsWriteTheSame) {
  const SparseTensor tensor = random_adapter(model_, 1).tensors.at("a");
  const SparseTensor second = random_adapter(model_, 2).tensors.at("a");
  const torch::Tensor wide = tensor.mask.indices().to(torch::kInt64);
  const torch::Tensor second_wide = second.mask.indices().to(torch::kInt64);
  const torch::Tensor base = model_.named_parameters()["a"].cpu().clone();
  torch::Tensor ours = base.clone(), theirs = base.clone();
  EXPECT_TRUE(bits(swap_into(ours, tensor.mask.indices(), tensor.values))
                  .equal(bits(swap_into(theirs, wide, tensor.values))));
  EXPECT_TRUE(bits(ours).equal(bits(theirs)));
  const torch::Tensor original = gather_from(base, wide);
  scatter_both_into(ours, tensor.mask.indices(), original, second.mask.indices(), second.values);
  scatter_both_into(theirs, wide, original, second_wide, second.values);
  EXPECT_TRUE(bits(ours).equal(bits(theirs)));
  EXPECT_TRUE(bits(gather_from(ours, second.mask.indices())).equal(bits(second.values)));
}

INSTANTIATE_TEST_SUITE_P(EveryDtype, SwitchingProperties,
                         testing::Combine(testing::Values(torch::kFloat32, torch::kBFloat16,
                                                          torch::kFloat16),
                                          testing::Values(torch::kCPU, torch::kCUDA)),
                         [](const auto& info) {
                           return detail::concat(std::get<0>(info.param),
                                                 c10::DeviceTypeName(std::get<1>(info.param)));
                         });

TEST(Switching, AScatterBetweenForwardAndBackwardRaises) {
  FewWeights model({{4, 4}}, torch::kFloat32);
  AdapterSwitcher switcher(model);
  const WeightPatch patch = switcher.resolve({{random_adapter(model, 1)}});
  const torch::Tensor input = at::ones({1, 4}).requires_grad_();
  const torch::Tensor output = at::matmul(input, model.named_parameters()["a"]).sum();
  switcher.apply(patch);
  expect_error<c10::Error>([&] { output.backward(); }, {"modified by an inplace operation"});
}

TEST(Switching, APatchIsReadOnlyHandleAndCopiesAreFree) {
  FewWeights model({{4, 4}}, torch::kFloat32);
  const AdapterSwitcher switcher(model);
  const WeightPatch patch = switcher.resolve({{random_adapter(model, 1)}});
  const WeightPatch copy = patch;
  EXPECT_EQ(&copy.entries(), &patch.entries());
}

/// The adapter of the weight "a" alone, under another name of it.
SparseAdapter renamed(SparseAdapter adapter, const std::string& name) {
  auto tensor = adapter.tensors.extract("a");
  adapter.tensors.clear();
  tensor.key() = name;
  adapter.tensors.insert(std::move(tensor));
  return adapter;
}

TEST(Switching, ATiedWeightIsOneWeightUnderEitherName) {
  FewWeights model({{4, 4}}, torch::kFloat32);
  model.register_parameter("tied", model.named_parameters()["a"]);
  const auto before = bits_of(model);
  const SparseAdapter first = random_adapter(model, 1), second = random_adapter(model, 2);
  AdapterSwitcher fresh(model);
  fresh.switch_to({{renamed(second, "a")}});
  const auto expected = bits_of(model);
  fresh.revert();

  AdapterSwitcher switcher(model);
  for (const char* name : {"a", "tied"}) {
    switcher.switch_to({{renamed(first, "a")}});
    const WeightPatch patch = switcher.resolve({{renamed(second, name)}});
    switcher.switch_to(patch);
    EXPECT_TRUE(are_equal(bits_of(model), expected));
    switcher.switch_to({{renamed(first, "tied")}});
    switcher.switch_to({{renamed(second, name)}});
    EXPECT_TRUE(are_equal(bits_of(model), expected));
    switcher.revert();
    EXPECT_TRUE(are_equal(bits_of(model), before));
  }

  SparseAdapter both = renamed(first, "a");
  both.tensors.merge(renamed(first, "tied").tensors);
  expect_error<Error>([&] { switcher.switch_to({{both}}); }, {"ties it to a"});
  expect_error<Error>([&] { switcher.resolve({{both}}, {.force = true}); }, {"ties it to a"});
  EXPECT_TRUE(are_equal(bits_of(model), before));
}

TEST(Switching, ASumThatOverflowsIsRefused) {
  FewWeights model({{4, 4}}, torch::kBFloat16);
  const auto before = bits_of(model);
  AdapterSwitcher switcher(model);
  expect_error<Error>([&] { switcher.switch_to({{random_adapter(model, 1), 1e300}}); },
                      {"overflow BF16", "smaller scales"});
  EXPECT_TRUE(are_equal(bits_of(model), before));
}

TEST(Switching, AThreadWithALeaseCannotSwitch) {
  FewWeights model({{4, 4}}, torch::kFloat32);
  AdapterSwitcher switcher(model);
  const WeightPatch patch = switcher.resolve({{random_adapter(model, 1)}});
  {
    const Lease lease = switcher.lease();
    EXPECT_NO_THROW(switcher.resolve({{random_adapter(model, 1)}}));
    expect_error<Error>([&] { switcher.switch_to(patch); }, {"holds a lease"});
  }
  EXPECT_NO_THROW(switcher.switch_to(patch));
}

TEST(Switching, EveryForwardUnderALeaseSeesOnePatchWhole) {
  FewWeights model({{64, 64}, {64, 64}}, torch::kFloat32);
  AdapterSwitcher switcher(model);
  const std::vector<WeightPatch> patches{switcher.resolve({{random_adapter(model, 1)}}),
                                         switcher.resolve({{random_adapter(model, 2)}})};
  const torch::Tensor input = at::randn({8, 64});
  const auto forward = [&] {
    torch::NoGradGuard no_grad;
    const auto parameters = model.named_parameters();
    return at::matmul(at::matmul(input, parameters["a"]).tanh(), parameters["b"]);
  };
  std::vector<torch::Tensor> outputs;
  for (const WeightPatch& patch : patches) {
    switcher.switch_to(patch);
    outputs.push_back(forward());
  }
  std::atomic<bool> done = false;
  std::atomic<int> forwards = 0, torn = 0;
  const auto read = [&] {
    while (!done) {
      const Lease lease = switcher.lease();
      const torch::Tensor output = forward();
      ++forwards;
      if (!output.equal(outputs[0]) && !output.equal(outputs[1])) ++torn;
    }
  };
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) readers.emplace_back(read);
  for (int i = 0; i < 300; ++i) switcher.switch_to(patches[static_cast<std::size_t>(i) % 2]);
  while (forwards < 10) std::this_thread::yield();
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(torn, 0);
}

}  // namespace
}  // namespace shira
