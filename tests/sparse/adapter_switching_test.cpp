// The promise of the whole library: what is put on comes off again, bit for bit, in every dtype.
#include "io/expect_error.h"
#include "io/temporary_directory.h"
#include "random_adapter.h"

#include <shira/base/error.h>
#include <shira/sparse/adapter_switcher.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/scatter_into.h>

#include <ATen/Functions.h>
#include <torch/nn/module.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

struct OneWeight : torch::nn::Module {
  explicit OneWeight(const torch::Tensor& initial) {
    weight = register_parameter("weight", initial, /*requires_grad=*/false);
  }
  torch::Tensor weight;
};

class Switching : public testing::TestWithParam<torch::ScalarType> {
 protected:
  OneWeight model_{at::randn({16, 24}).to(GetParam())};
  torch::Tensor base_ = model_.weight.clone();
};

TEST_P(Switching, ApplyWritesExactlyTheValuesAndRevertGivesBackEveryBit) {
  const SparseAdapter adapter = random_adapter(model_, 1);
  const SparseTensor& tensor = adapter.tensors.at("weight");
  AdapterSwitcher switcher(model_);
  switcher.apply(switcher.resolve({{adapter}}));
  EXPECT_TRUE(bits(gather_from(model_.weight, tensor.mask.indices())).equal(bits(tensor.values)));
  const torch::Tensor outside = tensor.mask.to_dense().logical_not();
  EXPECT_TRUE(model_.weight.masked_select(outside).equal(base_.masked_select(outside)));
  switcher.revert();
  EXPECT_TRUE(bits(model_.weight).equal(bits(base_)));
}

TEST_P(Switching, OverlappingSwitchesLeaveNoTrace) {
  AdapterSwitcher switcher(model_);
  const WeightPatch first = switcher.resolve({{random_adapter(model_, 1)}});
  const WeightPatch both =
      switcher.resolve({{random_adapter(model_, 2), 0.5}, {random_adapter(model_, 3), 0.7}});
  for (int round = 0; round < 3; ++round) {
    switcher.switch_to(first);
    switcher.switch_to(both);
  }
  switcher.revert();
  EXPECT_TRUE(bits(model_.weight).equal(bits(base_)));
}

TEST_P(Switching, ResolvingWhileAnotherPatchIsOnSeesTheBase) {
  const SparseAdapter second = random_adapter(model_, 2);
  AdapterSwitcher switcher(model_);
  const WeightPatch clean = switcher.resolve({{second, 0.5}});
  switcher.apply(switcher.resolve({{random_adapter(model_, 1)}}));
  const WeightPatch meanwhile = switcher.resolve({{second, 0.5}});
  EXPECT_TRUE(bits(meanwhile.entries().at("weight").patched)
                  .equal(bits(clean.entries().at("weight").patched)));
  EXPECT_TRUE(bits(meanwhile.entries().at("weight").original)
                  .equal(bits(clean.entries().at("weight").original)));
}

TEST_P(Switching, ScaleZeroIsTheBase) {
  AdapterSwitcher switcher(model_);
  switcher.apply(switcher.resolve({{random_adapter(model_, 1), 0.0}}));
  EXPECT_TRUE(bits(model_.weight).equal(bits(base_)));
}

TEST_P(Switching, SaveAndLoadGiveBackEveryBit) {
  const TemporaryDirectory directory;
  const SparseAdapter adapter = random_adapter(model_, 1);
  save_adapter(directory / "adapter", adapter);
  const SparseAdapter loaded = load_adapter(directory / "adapter");
  const SparseTensor& tensor = loaded.tensors.at("weight");
  EXPECT_EQ(loaded.base_dtype, GetParam());
  EXPECT_TRUE(tensor.mask.indices().equal(adapter.tensors.at("weight").mask.indices()));
  EXPECT_TRUE(bits(tensor.values).equal(bits(adapter.tensors.at("weight").values)));
  EXPECT_EQ(tensor.base_checksum, adapter.tensors.at("weight").base_checksum);
}

INSTANTIATE_TEST_SUITE_P(EveryDtype, Switching,
                         testing::Values(torch::kFloat64, torch::kFloat32, torch::kBFloat16,
                                         torch::kFloat16),
                         [](const auto& info) { return detail::concat(info.param); });

TEST(WeightPatch, OverlappingAdaptersAddTheirChangesOnce) {
  // W = 1: the first adapter says 3, the second 0; 1 + 0.5 * (3 - 1) + 2 * (0 - 1) = 0.
  OneWeight model(at::ones({1, 2}));
  const torch::Tensor indices = at::zeros({1}, torch::kInt32);
  const auto adapter = [&](float value) {
    SparseAdapter made;
    made.tensors.emplace("weight",
                         SparseTensor{SparseMask({1, 2}, indices), at::full({1}, value), {}});
    return made;
  };
  AdapterSwitcher switcher(model);
  switcher.apply(switcher.resolve({{adapter(3.0F), 0.5}, {adapter(0.0F), 2.0}}));
  EXPECT_TRUE(model.weight.equal(at::tensor({0.0F, 1.0F}).view({1, 2})));
}

TEST(WeightPatch, DeltasAreAddedInFloat32AsPeftDoes) {
  OneWeight model(at::full({1, 2}, 1.0).to(torch::kBFloat16));
  SparseAdapter adapter;
  adapter.kind = ValueKind::kDeltas;
  adapter.tensors.emplace(
      "weight",
      SparseTensor{SparseMask({1, 2}, at::zeros({1}, torch::kInt32)), at::full({1}, 0.01F), {}});
  AdapterSwitcher switcher(model);
  switcher.apply(switcher.resolve({{adapter}}));
  // round_bf16(1.01) = 1 + 2^-7 = 1.0078125
  EXPECT_EQ(model.weight[0][0].item<float>(), 1.0078125F);
}

TEST(WeightPatch, SumsAreRoundedOnce) {
  // W = 1, one adapter at scale 0.5 with value v: 1 + 0.5 * (v - 1) = 1 + 2^-8 + 2^-26 lies just
  // above the midpoint of the bfloat16 neighbours 1 and 1 + 2^-7. Through float32 it would become
  // the midpoint itself and round to even, to 1.
  OneWeight model(at::ones({1, 1}).to(torch::kBFloat16));
  SparseAdapter adapter;
  const double value = 1.0 + 2.0 * (std::ldexp(1.0, -8) + std::ldexp(1.0, -26));
  adapter.tensors.emplace("weight", SparseTensor{SparseMask({1, 1}, at::zeros({1}, torch::kInt32)),
                                                 at::full({1}, value, torch::kFloat64),
                                                 {}});
  AdapterSwitcher switcher(model);
  switcher.apply(switcher.resolve({{adapter, 0.5}}));
  EXPECT_EQ(model.weight.item<float>(), 1.0078125F);
}

TEST(WeightPatch, AnAdapterOfAnotherBaseIsRefusedUnlessForced) {
  OneWeight model(at::randn({8, 8}));
  const SparseAdapter adapter = random_adapter(model, 1);
  OneWeight other(at::randn({8, 8}));
  AdapterSwitcher switcher(other);
  expect_error<Error>([&] { switcher.resolve({{adapter}}); },
                      {"weight", "base's values", "--force"});
  EXPECT_NO_THROW(switcher.resolve({{adapter}}, {.force = true}));
  OneWeight smaller(at::randn({4, 8}));
  AdapterSwitcher small_switcher(smaller);
  expect_error<Error>([&] { small_switcher.resolve({{adapter}}, {.force = true}); },
                      {"[4, 8]", "[8, 8]"});
}

TEST(WeightPatch, AWiderBaseWithTheSameValuesIsTheSameBase) {
  OneWeight narrow(at::randn({8, 8}).to(torch::kBFloat16));
  const SparseAdapter adapter = random_adapter(narrow, 1);
  OneWeight wide(narrow.weight.to(torch::kFloat32));
  AdapterSwitcher switcher(wide);
  EXPECT_NO_THROW(switcher.resolve({{adapter}}));
}

TEST(AdapterSwitcher, TakesOnePatchAtATimeAndOnlyItsOwn) {
  OneWeight model(at::randn({8, 8}));
  OneWeight smaller(at::randn({2, 2}));
  AdapterSwitcher switcher(model);
  const WeightPatch patch = switcher.resolve({{random_adapter(model, 1)}});
  switcher.apply(patch);
  expect_error<Error>([&] { switcher.apply(patch); }, {"already applied"});
  AdapterSwitcher small_switcher(smaller);
  expect_error<Error>([&] { small_switcher.apply(patch); }, {"does not fit"});
}

TEST(AdapterSwitcher, RevertsWhenItGoesOutOfScope) {
  OneWeight model(at::randn({8, 8}));
  const torch::Tensor base = model.weight.clone();
  {
    AdapterSwitcher switcher(model);
    switcher.apply(switcher.resolve({{random_adapter(model, 1)}}));
    EXPECT_FALSE(model.weight.equal(base));
  }
  EXPECT_TRUE(model.weight.equal(base));
}

}  // namespace
}  // namespace shira
