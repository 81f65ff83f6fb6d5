// The fused adapter does what its parts do together, bit for bit.
#include "io/expect_error.h"
#include "io/temporary_directory.h"
#include "random_adapter.h"

#include <shira/base/error.h>
#include <shira/sparse/adapter_switcher.h>
#include <shira/sparse/fuse.h>

#include <gtest/gtest.h>

#include <limits>

namespace shira {
namespace {

std::map<std::string, torch::Tensor> named(const torch::nn::Module& model) {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& item : model.named_parameters()) tensors.emplace(item.key(), item.value());
  return tensors;
}

/// Positions `indices` of weight "a" of four entries get `values`.
SparseAdapter adapter_of(const torch::Tensor& base, std::vector<std::int32_t> indices,
                         std::vector<float> values) {
  const torch::Tensor positions = at::tensor(indices, torch::kInt32);
  SparseAdapter adapter;
  adapter.tensors.emplace(
      "a", SparseTensor{SparseMask(base.sizes().vec(), positions),
                        at::tensor(values).to(base.scalar_type()),
                        base_checksum(gather_from(base, positions), base.scalar_type())});
  return adapter;
}

class FuseInEveryDtype : public testing::TestWithParam<torch::ScalarType> {
 protected:
  FewWeights model_{{{40, 60}, {300}, {8, 3, 3, 3}}, GetParam()};
  AdapterSwitcher switcher_{model_};

  std::vector<torch::Tensor> applied(const std::vector<ScaledAdapter>& adapters) {
    switcher_.apply(switcher_.resolve(adapters));
    std::vector<torch::Tensor> all = bits_of(model_);
    switcher_.revert();
    return all;
  }

  /// In memory, and through a file.
  void expect_same(const std::vector<ScaledAdapter>& adapters) {
    const FusedAdapter fused = fuse_adapters(named(model_), adapters);
    EXPECT_TRUE(are_equal(applied({{fused.adapter}}), applied(adapters)));
    TemporaryDirectory directory;
    save_adapter(directory / "fused", fused.adapter);
    EXPECT_TRUE(are_equal(applied({{load_adapter(directory / "fused")}}), applied(adapters)));
  }
};

TEST_P(FuseInEveryDtype, IsWhatTheAdaptersDoTogether) {
  const SparseAdapter one = random_adapter(model_, 1), two = random_adapter(model_, 2, 0.5);
  SparseAdapter part = random_adapter(model_, 3);
  part.tensors.erase("b");
  expect_same({{one}});
  expect_same({{one, 0.3}});
  expect_same({{one}, {two}});
  expect_same({{one, 0.5}, {two, -0.7}, {part, 1.25}});
  expect_same({{one, 0.0}, {two}});
  expect_same({{part}, {part, -1.0}});
}

TEST_P(FuseInEveryDtype, DeltasAndWholeTensorsToo) {
  SparseAdapter deltas = random_adapter(model_, 4);
  deltas.kind = ValueKind::kDeltas;
  for (auto& [name, tensor] : deltas.tensors) tensor.values = at::randn({tensor.mask.nnz()});
  SparseAdapter whole;
  whole.whole = {{"b", at::randn({300}).to(GetParam())}};
  const SparseAdapter one = random_adapter(model_, 1);
  expect_same({{deltas}});
  expect_same({{deltas, 0.4}, {one, 0.9}});
  expect_same({{whole}});
  expect_same({{whole, 0.5}, {one}});
}

INSTANTIATE_TEST_SUITE_P(Fuse, FuseInEveryDtype,
                         testing::Values(torch::kFloat64, torch::kFloat32, torch::kBFloat16,
                                         torch::kFloat16));

class Fuse : public testing::Test {
 protected:
  torch::Tensor weight_ = at::tensor({1.0F, 2.0F, 3.0F, 4.0F});
  std::map<std::string, torch::Tensor> base_{{"a", weight_}};
};

TEST_F(Fuse, ByHand) {
  const FusedAdapter fused = fuse_adapters(
      base_, {{adapter_of(weight_, {0, 1}, {10, 20})}, {adapter_of(weight_, {1, 3}, {0, 8}), 0.5}});
  const SparseTensor& tensor = fused.adapter.tensors.at("a");
  EXPECT_TRUE(tensor.mask.indices().equal(at::tensor({0, 1, 3}, torch::kInt32)));
  // 10 copied; 2 + (20 - 2) + 0.5 * (0 - 2); 4 + 0.5 * (8 - 4)
  EXPECT_TRUE(tensor.values.equal(at::tensor({10.0F, 19.0F, 6.0F})));
  EXPECT_EQ(tensor.base_checksum, base_checksum(at::tensor({1.0F, 2.0F, 4.0F}), torch::kFloat32));
  EXPECT_EQ(fused.overlaps, 1);
  EXPECT_EQ(fused.adapter.kind, ValueKind::kWeights);
  EXPECT_EQ(fused.adapter.mask_type, "fused");
  EXPECT_EQ(fused.adapter.base_dtype, torch::kFloat32);
}

TEST_F(Fuse, OverlapsCountPositionsOnce) {
  const SparseAdapter one = adapter_of(weight_, {0, 1}, {1, 1});
  EXPECT_EQ(fuse_adapters(base_, {{one}, {one}, {one}}).overlaps, 2);
}

TEST_F(Fuse, TheFusedAdapterKnowsItsBase) {
  const SparseAdapter fused = fuse_adapters(base_, {{adapter_of(weight_, {2}, {7}), 0.5}}).adapter;
  const std::map<std::string, torch::Tensor> other{{"a", weight_ + 1}};
  expect_error<Error>([&] { fuse_adapters(other, {{fused}}); }, {"a: the base's values"});
}

TEST_F(Fuse, WhatDoesNotFitIsToldAtOnce) {
  SparseAdapter wrong = adapter_of(weight_ + 1, {1}, {5});
  wrong.tensors.emplace("absent", wrong.tensors.at("a"));
  expect_error<Error>([&] { fuse_adapters(base_, {{wrong}}); },
                      {"a: the base's values under the mask differ", "absent: the base has no"});
  const SparseAdapter shape = adapter_of(at::ones({2, 2}), {1}, {5});
  expect_error<Error>([&] { fuse_adapters(base_, {{shape}}, {.force = true}); },
                      {"a: the base has shape [4], the adapter [2, 2]"});
}

TEST_F(Fuse, ASumThatOverflowsIsNoAdapter) {
  const SparseAdapter large = adapter_of(weight_, {1}, {3e38F});
  expect_error<Error>([&] { fuse_adapters(base_, {{large}, {large}}); }, {"a", "overflow F32"});
}

TEST_F(Fuse, ADifferenceMayHoldAnyBitsAndSoMayWhatIsMadeOfIt) {
  SparseAdapter diff = adapter_of(weight_, {1}, {std::numeric_limits<float>::quiet_NaN()});
  expect_error<Error>([&] { fuse_adapters(base_, {{diff}}); }, {"overflow"});
  diff.mask_type = "diff";
  diff.removed = {"b"};
  base_.emplace("b", weight_);
  const SparseAdapter fused = fuse_adapters(base_, {{diff}}).adapter;
  EXPECT_EQ(fused.mask_type, "diff");
  EXPECT_EQ(fused.removed, diff.removed);
  EXPECT_TRUE(bits(fused.tensors.at("a").values).equal(bits(diff.tensors.at("a").values)));
}

TEST_F(Fuse, WholeTensorsOfNaNAreReadFromDifferencesAlone) {
  TemporaryDirectory directory;
  SparseAdapter adapter;
  adapter.whole = {{"a", at::full({2}, std::numeric_limits<float>::infinity())}};
  save_adapter(directory / "a", adapter);
  expect_error<IoError>([&] { load_adapter(directory / "a"); },
                        {"adapter_model.safetensors", "tensor a", "infinite"});
  adapter.mask_type = "diff";
  save_adapter(directory / "a", adapter);
  EXPECT_TRUE(load_adapter(directory / "a").whole.at("a").equal(adapter.whole.at("a")));
}

}  // namespace
}  // namespace shira
