// LoRA and DoRA merges that can be checked by hand; tests/cli/test_peft.py holds them against PEFT.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/sparse/lora_adapter.h>
#include <shira/sparse/lora_projection.h>

#include <torch/torch.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

/// B A = [[1, 2], [3, 6]], scaling 0.5.
LoraTensor rank_one() {
  return {torch::tensor({{1.0f, 2.0f}}), torch::tensor({{1.0f}, {3.0f}}), 0.5, {}};
}

TEST(MergedWeight, AddsTheScaledProduct) {
  const torch::Tensor base = torch::tensor({{10.0f, 10.0f}, {0.0f, 1.0f}});
  const torch::Tensor merged = merged_weight(rank_one(), base);
  EXPECT_TRUE(merged.equal(torch::tensor({{10.5f, 11.0f}, {1.5f, 4.0f}})));
  EXPECT_TRUE(
      merged_weight(rank_one(), base, 2.0).equal(torch::tensor({{11.0f, 12.0f}, {3.0f, 7.0f}})));
}

TEST(MergedWeight, OfDoraHasTheMagnitudesAsRowNorms) {
  LoraTensor lora = rank_one();
  lora.magnitude = torch::tensor({10.0f, 1.0f});
  const torch::Tensor base =
      torch::tensor({{2.5f, 3.0f}, {-1.5f, -2.0f}});  // + product/2: 3 4, 0 1
  EXPECT_TRUE(merged_weight(lora, base).allclose(torch::tensor({{6.0f, 8.0f}, {0.0f, 1.0f}})));
  const torch::Tensor half = torch::tensor({{4.25f, 5.5f}, {-0.75f, -0.5f}});
  EXPECT_TRUE(merged_weight(lora, base, 0.5).allclose(half));
}

TEST(MergedWeight, AtScaleZeroIsTheBaseToTheBit) {
  const torch::Tensor base = torch::tensor({{-0.0f, 1.0f}, {2.0f, 3.0f}}).to(torch::kBFloat16);
  const torch::Tensor merged = merged_weight(rank_one(), base, 0.0);
  EXPECT_TRUE(merged.view(torch::kInt16).equal(base.view(torch::kInt16)));
}

TEST(MergedWeight, RoundsOnceToTheDtypeOfTheBase) {
  LoraTensor lora = rank_one();
  // Changes of 1, 2, 3 and 6 * 2^-9, where BF16 has steps of 4 * 2^-9: both ties go to even.
  lora.scaling = 0x1p-9;
  const torch::Tensor base = torch::ones({2, 2}, torch::kBFloat16);
  const torch::Tensor expected = torch::tensor({{1.0f, 1.0f}, {1.0f + 0x1p-7f, 1.0f + 0x1p-6f}});
  EXPECT_TRUE(merged_weight(lora, base).to(torch::kFloat32).equal(expected));
}

TEST(MergedWeight, OfAConvolutionIsTheProductOfTheFlattenedFactors) {
  torch::manual_seed(0);
  const torch::Tensor base = torch::randn({5, 3, 2, 3});
  const LoraTensor lora{torch::randn({2, 3, 2, 3}), torch::randn({5, 2, 1, 1}), 0.5, {}};
  const torch::Tensor product = lora.b.view({5, 2}).mm(lora.a.view({2, -1})).view_as(base);
  EXPECT_TRUE(merged_weight(lora, base).allclose(base + 0.5 * product, 1e-5, 1e-6));

  const torch::Tensor pointwise = torch::randn({5, 3, 1, 1});
  const LoraTensor small{torch::randn({2, 3, 1, 1}), lora.b, 1.0, {}};
  EXPECT_TRUE(
      merged_weight(small, pointwise)
          .view({5, 3})
          .allclose(pointwise.view({5, 3}) + small.b.view({5, 2}).mm(small.a.view({2, 3}))));
}

TEST(MergedWeight, RefusesOtherShapesAndInfinities) {
  expect_error<ShapeError>([] { merged_weight(rank_one(), torch::ones({2, 3})); },
                           {"[2, 3]", "[2, 2]"});
  LoraTensor dora = rank_one();
  dora.magnitude = torch::ones({2});
  const torch::Tensor cancels = torch::tensor({{-0.5f, -1.0f}, {0.0f, 1.0f}});
  expect_error<ShapeError>([&] { merged_weight(dora, cancels); }, {"not finite"});
}

TEST(ProjectLora, KeepsTheLargestChangesAndTellsTheRest) {
  // Changes [[0.5, 1], [1.5, 3]]: a quarter of the entries is the 3; 0.25 + 1 + 2.25 of 12.5 is
  // lost.
  const std::map<std::string, torch::Tensor> base = {
      {"fc.weight", torch::tensor({{10.0f, 10.0f}, {0.0f, 1.0f}})}};
  const LoraProjection projection = project_lora({{{"fc.weight", rank_one()}}, "b"}, base, 0.25);
  const SparseTensor& tensor = projection.adapter.tensors.at("fc.weight");
  EXPECT_EQ(projection.adapter.kind, ValueKind::kWeights);
  EXPECT_TRUE(tensor.mask.indices().equal(torch::tensor({3}, torch::kInt32)));
  EXPECT_TRUE(tensor.values.equal(torch::tensor({4.0f})));
  EXPECT_EQ(tensor.base_checksum, base_checksum(torch::tensor({1.0f}), torch::kFloat32));
  EXPECT_DOUBLE_EQ(projection.errors.at("fc.weight"), std::sqrt(3.5 / 12.5));
  EXPECT_DOUBLE_EQ(projection.error, std::sqrt(3.5 / 12.5));
}

TEST(ProjectLora, NeedsTheBasesTensor) {
  expect_error<Error>([] { project_lora({{{"fc.weight", rank_one()}}, "b"}, {}, 0.5); },
                      {"fc.weight", "no such parameter"});
}

}  // namespace
}  // namespace shira
