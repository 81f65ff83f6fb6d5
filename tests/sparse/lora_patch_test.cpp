// LoRA and DoRA on a live model: dense patches, alone and beside other adapters, off again to the
// bit.
#include "io/expect_error.h"
#include "random_adapter.h"

#include <shira/base/error.h>
#include <shira/kernels/rounding.h>
#include <shira/sparse/adapter_switcher.h>
#include <shira/sparse/fuse.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <limits>

namespace shira {
namespace {

LoraTensor random_lora(std::int64_t out, std::int64_t in) {
  return {at::randn({3, in}), at::randn({out, 3}), 0.5, {}};
}

LoraTensor random_dora(std::int64_t out, std::int64_t in) {
  LoraTensor lora = random_lora(out, in);
  lora.magnitude = at::rand({out}) + 1.0;
  return lora;
}

class LoraPatch : public testing::TestWithParam<torch::ScalarType> {
 protected:
  torch::Tensor weight() const { return model_.named_parameters()["a"]; }

  /// The weight after the adapters were put on and taken off, which must leave no trace.
  torch::Tensor applied(const std::vector<ScaledAdapter>& adapters) {
    AdapterSwitcher switcher(model_);
    switcher.switch_to(adapters);
    const torch::Tensor result = weight().clone();
    switcher.revert();
    EXPECT_TRUE(are_equal(bits_of(model_), before_));
    return result;
  }

  /// LibTorch would round a float64 to a 16-bit float by way of float32, twice.
  static torch::Tensor rounded_once(const torch::Tensor& sum) {
    if (c10::elementSize(GetParam()) > 2) return sum.to(GetParam());
    const torch::Tensor odd = at::empty(sum.sizes(), torch::kFloat32);
    for (std::int64_t i = 0; i < sum.numel(); ++i) {
      odd.data_ptr<float>()[i] = round_to_odd(sum.const_data_ptr<double>()[i]);
    }
    return odd.to(GetParam());
  }

  torch::Tensor wide() const { return base_.to(torch::kFloat64); }
  torch::Tensor change(const LoraTensor& lora, double scale = 1.0) const {
    return weight_change(lora, base_, scale).to(torch::kFloat64);
  }

  FewWeights model_{{{8, 6}, {4, 4}}, GetParam()};
  torch::Tensor base_ = weight().clone();
  std::vector<torch::Tensor> before_ = bits_of(model_);
  LoraTensor lora_ = random_lora(8, 6);
  LoraTensor dora_ = random_dora(8, 6);
  LoraAdapter adapter_{{{"a", lora_}}, "base"};
};

TEST_P(LoraPatch, AloneGivesTheMergedWeight) {
  for (const LoraTensor& lora : {lora_, dora_}) {
    for (const double scale : {1.0, 0.5, -2.0}) {
      const torch::Tensor result = applied({{LoraAdapter{{{"a", lora}}, ""}, scale}});
      EXPECT_TRUE(result.equal(merged_weight(lora, base_, scale)));
      EXPECT_FALSE(result.equal(base_));
    }
  }
}

TEST_P(LoraPatch, AtScaleZeroWritesNothing) {
  AdapterSwitcher switcher(model_);
  EXPECT_EQ(switcher.resolve({{adapter_, 0.0}}).nnz(), 0);
  EXPECT_TRUE(applied({{adapter_, 0.0}}).equal(base_));
  const LoraAdapter dora{{{"a", dora_}}, ""};
  EXPECT_TRUE(applied({{adapter_, 0.0}, {dora}}).equal(merged_weight(dora_, base_)));
}

TEST_P(LoraPatch, SeveralAddTheirChangesAndRoundOnce) {
  const LoraAdapter dora{{{"a", dora_}}, ""};
  const torch::Tensor sum = wide() + change(lora_, 0.5) + change(dora_, -2.0);
  EXPECT_TRUE(applied({{adapter_, 0.5}, {dora, -2.0}}).equal(rounded_once(sum)));
}

TEST_P(LoraPatch, AddsToWhatASparseAdapterWrites) {
  const SparseAdapter sparse = random_adapter(model_, 1);
  const SparseTensor& tensor = sparse.tensors.at("a");
  torch::Tensor expected = merged_weight(lora_, base_);  // where the sparse one writes nothing
  const torch::Tensor at = tensor.mask.indices().to(torch::kInt64);
  const torch::Tensor both =
      tensor.values.to(torch::kFloat64) + change(lora_).view(-1).index_select(0, at);
  expected.view(-1).index_put_({at}, rounded_once(both));
  const torch::Tensor result = applied({{sparse}, {adapter_}});
  const auto tolerance = GetParam() == torch::kFloat64 ? 1e-15 : 0.0;
  EXPECT_TRUE(result.allclose(expected, 0.0, tolerance)) << (result - expected).abs().max();
}

TEST_P(LoraPatch, SwitchesWithSparsePatchesLeaveNoTrace) {
  AdapterSwitcher switcher(model_);
  const std::vector<WeightPatch> patches{
      switcher.resolve({{adapter_}}), switcher.resolve({{random_adapter(model_, 1)}}),
      switcher.resolve({{adapter_, 0.3}, {random_adapter(model_, 2), 0.7}})};
  std::vector<std::vector<torch::Tensor>> results;
  for (const WeightPatch& patch : patches) {
    switcher.apply(patch);
    results.push_back(bits_of(model_));
    switcher.revert();
  }
  for (const int next : {0, 1, 2, 0, 2, 1, 0, 0, 1}) {
    switcher.switch_to(patches[next]);
    EXPECT_TRUE(are_equal(bits_of(model_), results[next]));
  }
  const WeightPatch again = switcher.resolve({{adapter_}});  // while another is on
  switcher.switch_to(again);
  EXPECT_TRUE(are_equal(bits_of(model_), results[0]));
  switcher.revert();
  EXPECT_TRUE(are_equal(bits_of(model_), before_));
}

TEST_P(LoraPatch, FusesToWholeTensors) {
  const std::vector<ScaledAdapter> adapters{{adapter_}, {random_adapter(model_, 3), 0.5}};
  const torch::Tensor expected = applied(adapters);
  const FusedAdapter fused =
      fuse_adapters({{"a", base_}, {"b", model_.named_parameters()["b"]}}, adapters);
  EXPECT_TRUE(fused.adapter.whole.contains("a"));
  EXPECT_TRUE(fused.adapter.tensors.contains("b"));
  EXPECT_TRUE(applied({{fused.adapter}}).equal(expected));
}

TEST_P(LoraPatch, ThatDoesNotFitChangesNothing) {
  AdapterSwitcher switcher(model_);
  const WeightPatch on = switcher.resolve({{random_adapter(model_, 4)}});
  switcher.apply(on);
  const auto now = bits_of(model_);
  LoraTensor infinite = lora_;
  infinite.scaling = std::numeric_limits<double>::infinity();
  const LoraAdapter bad{{{"a", infinite}, {"b", random_lora(4, 5)}, {"c", lora_}}, ""};
  expect_error<Error>([&] { switcher.switch_to({{bad}}); },
                      {"a: ", "not finite", "b: ", "[4, 4]", "[4, 5]", "c: ", "no such parameter"});
  EXPECT_TRUE(are_equal(bits_of(model_), now));
  switcher.revert();
  EXPECT_TRUE(are_equal(bits_of(model_), before_));
}

INSTANTIATE_TEST_SUITE_P(Dtypes, LoraPatch,
                         testing::Values(torch::kFloat64, torch::kFloat32, torch::kBFloat16,
                                         torch::kFloat16));

}  // namespace
}  // namespace shira
