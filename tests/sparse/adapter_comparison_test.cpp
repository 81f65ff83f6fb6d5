#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/sparse/adapter_comparison.h>

#include <ATen/Functions.h>

#include <gtest/gtest.h>

#include <cmath>

namespace shira {
namespace {

SparseTensor sparse_at(std::vector<std::int64_t> shape, const std::vector<std::int32_t>& indices,
                       const std::vector<double>& values) {
  return {SparseMask(std::move(shape), at::tensor(indices, torch::kInt32)),
          at::tensor(values, torch::kFloat32), std::nullopt};
}

SparseAdapter adapter_of(ValueKind kind, std::map<std::string, SparseTensor> tensors) {
  SparseAdapter adapter;
  adapter.kind = kind;
  adapter.tensors = std::move(tensors);
  return adapter;
}

TEST(MaskOverlap, CountsSharedEntries) {
  const MaskOverlap overlap = mask_overlap(sparse_at({2, 3}, {0, 2, 5}, {1, 1, 1}).mask,
                                           sparse_at({2, 3}, {2, 3, 4, 5}, {1, 1, 1, 1}).mask);
  EXPECT_EQ(overlap.first, 3);
  EXPECT_EQ(overlap.second, 4);
  EXPECT_EQ(overlap.shared, 2);
  EXPECT_DOUBLE_EQ(overlap.jaccard(), 2.0 / 5.0);
  EXPECT_EQ(MaskOverlap{}.jaccard(), 0);
}

// (3, 4) and (4, 0, -2) on entries {0, 1} and {1, 2, 3}: differences 3, 0, 0, 2.
TEST(ChangeDistances, AreL2Norms) {
  const ChangeDistances distances =
      change_distances(sparse_at({4}, {0, 1}, {3, 4}), sparse_at({4}, {1, 2, 3}, {4, 0, -2}));
  EXPECT_DOUBLE_EQ(distances.first, 5);
  EXPECT_DOUBLE_EQ(distances.second, std::sqrt(20.0));
  EXPECT_DOUBLE_EQ(distances.between, std::sqrt(13.0));
}

TEST(AdapterDeltas, AreWeightsMinusTheBaseUnderTheMask) {
  const BaseTensors base{{"w", at::arange(6).to(torch::kFloat32).view({2, 3})}};
  SparseAdapter adapter =
      adapter_of(ValueKind::kWeights, {{"w", sparse_at({2, 3}, {1, 5}, {1.5, 4})}});
  adapter.tensors.at("w").base_checksum = base_checksum(at::tensor({1.0F, 5.0F}), torch::kFloat32);
  const SparseAdapter deltas = adapter_deltas(adapter, &base);
  EXPECT_EQ(deltas.kind, ValueKind::kDeltas);
  EXPECT_TRUE(deltas.tensors.at("w").values.equal(at::tensor({0.5, -1.0}, torch::kFloat64)));
  // Those of deltas are themselves, whatever the base holds.
  adapter.kind = ValueKind::kDeltas;
  EXPECT_TRUE(adapter_deltas(adapter, nullptr)
                  .tensors.at("w")
                  .values.equal(at::tensor({1.5, 4.0}, torch::kFloat64)));
}

// The adapter saw bfloat16(1.001) = 1: that is what its training changed.
TEST(AdapterDeltas, AreAgainstTheBaseInTheDtypeThatTheAdapterSaw) {
  const BaseTensors base{{"w", at::full({2, 2}, 1.001)}};
  SparseAdapter adapter = adapter_of(ValueKind::kWeights, {{"w", sparse_at({2, 2}, {3}, {1.5})}});
  torch::Tensor& values = adapter.tensors.at("w").values;
  values = values.to(torch::kBFloat16);
  adapter.base_dtype = torch::kBFloat16;
  EXPECT_EQ(adapter_deltas(adapter, &base).tensors.at("w").values.item<double>(), 0.5);
}

TEST(AdapterDeltas, NeedTheirBase) {
  const BaseTensors base{
      {"other", at::ones({2, 2})}, {"turned", at::ones({3, 2})}, {"changed", at::ones({2, 2})}};
  SparseAdapter adapter =
      adapter_of(ValueKind::kWeights, {{"lost", sparse_at({2, 2}, {0}, {1})},
                                       {"turned", sparse_at({2, 3}, {0}, {1})},
                                       {"changed", sparse_at({2, 2}, {0}, {1})}});
  adapter.tensors.at("changed").base_checksum = base_checksum(at::zeros({1}), torch::kFloat32);
  expect_error<ConfigError>([&] { adapter_deltas(adapter, nullptr); }, {"--base_model"});
  expect_error<Error>([&] { adapter_deltas(adapter, &base); },
                      {"lost: the base has no", "turned: ", "[3, 2]", "[2, 3]", "changed: "});
  adapter.tensors.erase("lost");
  adapter.tensors.erase("turned");
  expect_error<Error>([&] { adapter_deltas(adapter, &base); }, {"changed: "});
  EXPECT_EQ(adapter_deltas(adapter, &base, /*force=*/true).nnz(), 1);
}

// x and y are blocks: ||A1^T A2|| of x is 1 * 2, of y (second row of three columns) 3 * 1.
TEST(CompareAdapters, AddsTensorsUpAsBlocks) {
  const SparseAdapter first = adapter_of(ValueKind::kDeltas, {{"x", sparse_at({2, 2}, {0}, {1})},
                                                              {"y", sparse_at({2, 3}, {3}, {3})},
                                                              {"z", sparse_at({2}, {1}, {2})}});
  const SparseAdapter second = adapter_of(
      ValueKind::kDeltas, {{"x", sparse_at({2, 2}, {0}, {2})}, {"y", sparse_at({2, 3}, {5}, {1})}});
  const AdapterComparison result = compare_adapters(first, second);
  ASSERT_EQ(result.tensors.size(), 2);
  EXPECT_EQ(result.tensors[0].changes->orthogonality.spectral.value, 2);
  EXPECT_EQ(result.tensors[1].changes->orthogonality.spectral.value, 3);
  EXPECT_EQ(result.only_first, (std::vector<std::string>{"z"}));
  EXPECT_TRUE(result.only_second.empty());
  const TensorComparison& total = result.total;
  EXPECT_EQ(total.overlap.shared, 1);
  EXPECT_EQ(total.overlap.first, 2);
  EXPECT_EQ(total.changes->orthogonality.spectral.value, 3);
  EXPECT_DOUBLE_EQ(total.changes->orthogonality.frobenius, std::sqrt(4.0 + 9.0));
  EXPECT_DOUBLE_EQ(total.changes->orthogonality.ratio(), 1 - 2.0 / 13.0);  // 2 of 4 + 9 entries
  EXPECT_DOUBLE_EQ(total.changes->distances.first, std::sqrt(1.0 + 9.0 + 4.0));
  EXPECT_DOUBLE_EQ(total.changes->distances.second, std::sqrt(4.0 + 1.0));
  EXPECT_DOUBLE_EQ(total.changes->distances.between, std::sqrt(1.0 + 10.0 + 4.0));
}

TEST(CompareAdapters, OfWeightsHasTheMasksAlone) {
  const SparseAdapter weights =
      adapter_of(ValueKind::kWeights, {{"x", sparse_at({2, 2}, {0, 3}, {1, 1})}});
  const AdapterComparison result = compare_adapters(weights, weights);
  EXPECT_EQ(result.total.overlap.shared, 2);
  EXPECT_FALSE(result.tensors[0].changes);
  EXPECT_FALSE(result.total.changes);
}

TEST(CompareAdapters, RefusesStrangersAndNamesTheTensorThatDoesNotFit) {
  const auto with = [](const std::string& name, SparseTensor tensor) {
    return adapter_of(ValueKind::kDeltas, {{name, std::move(tensor)}});
  };
  const SparseAdapter first = with("x", sparse_at({2, 2}, {0}, {1}));
  expect_error<Error>([&] { compare_adapters(first, with("y", sparse_at({2, 2}, {0}, {1}))); },
                      {"no tensor is sparse in both"});
  expect_error<ShapeError>([&] { compare_adapters(first, with("x", sparse_at({4}, {0}, {1}))); },
                           {"x: ", "[2, 2]", "[4]"});
  expect_error<ShapeError>(
      [&] { compare_adapters(first, with("x", sparse_at({2, 2}, {0}, {NAN}))); },
      {"x: ", "not finite"});
}

}  // namespace
}  // namespace shira
