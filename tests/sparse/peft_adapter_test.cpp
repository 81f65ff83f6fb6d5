// What happens to values on their way from and to PEFT; tests/cli/test_peft.py has live PEFT judge.
#include "io/expect_error.h"
#include "io/temporary_directory.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/sparse/peft_adapter.h>
#include <shira/sparse/tensor_file.h>

#include <torch/torch.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

using Base = std::map<std::string, torch::Tensor>;

SparseTensor at_positions(std::vector<std::int32_t> positions, std::vector<float> values) {
  return {SparseMask({4, 8}, torch::tensor(positions, torch::kInt32)), torch::tensor(values), {}};
}

/// Super-Tuning of 3 of 32 entries.
void write_supertuning(const TemporaryDirectory& directory) {
  write_file(directory / "adapter_config.json",
             R"({"peft_type": "SUPERTUNING", "sparsity": 0.9, "target_modules": ["fc"]})");
  save_tensors(
      directory / "adapter_model.safetensors",
      {{"base_model.model.fc.supertuning_values", torch::tensor({1.0f + 0x1p-9f, 2.0f, -3.0f})},
       {"base_model.model.fc.supertuning_indices", torch::tensor({31, 5, 8}, torch::kInt32)}});
}

TEST(PeftAdapter, SuperTuningRoundsItsValuesToTheWeightsDtypeFirst) {
  TemporaryDirectory directory;
  write_supertuning(directory);
  const SparseAdapter narrow =
      load_peft_adapter(directory.path(), {{"fc.weight", torch::zeros({4, 8}, torch::kBFloat16)}});
  EXPECT_EQ(narrow.kind, ValueKind::kDeltas);
  EXPECT_EQ(narrow.base_dtype, torch::kBFloat16);
  const SparseTensor& tensor = narrow.tensors.at("fc.weight");
  EXPECT_TRUE(tensor.mask.indices().equal(torch::tensor({5, 8, 31}, torch::kInt32)));
  EXPECT_TRUE(tensor.values.equal(torch::tensor({2.0f, -3.0f, 1.0f})));

  const SparseAdapter wide =
      load_peft_adapter(directory.path(), {{"fc.weight", torch::zeros({4, 8})}});
  EXPECT_EQ(wide.tensors.at("fc.weight").values[2].item<float>(), 1.0f + 0x1p-9f);
}

TEST(PeftAdapter, DifferencesAreWrittenAsTheyAre) {
  TemporaryDirectory directory;
  SparseAdapter deltas;
  deltas.kind = ValueKind::kDeltas;
  deltas.tensors.emplace("fc.weight", at_positions({3, 30}, {0.1f, -1e-30f}));
  save_peft_adapter(directory.path(), deltas, {});
  const SparseAdapter again =
      load_peft_adapter(directory.path(), {{"fc.weight", torch::zeros({4, 8})}});
  EXPECT_TRUE(again.tensors.at("fc.weight").values.equal(torch::tensor({0.1f, -1e-30f})));
  EXPECT_TRUE(
      again.tensors.at("fc.weight").mask.indices().equal(torch::tensor({3, 30}, torch::kInt32)));
}

TEST(PeftAdapter, NewWeightsAreWrittenForTheirOwnBaseOnly) {
  TemporaryDirectory directory;
  SparseAdapter weights;
  weights.tensors.emplace("fc.weight", at_positions({0, 9}, {3.0f, 5.0f}));
  weights.tensors.at("fc.weight").base_checksum = base_checksum(torch::ones({2}), torch::kFloat32);
  save_peft_adapter(directory.path(), weights, {{"fc.weight", torch::ones({4, 8})}});
  const SparseAdapter deltas =
      load_peft_adapter(directory.path(), {{"fc.weight", torch::ones({4, 8})}});
  EXPECT_TRUE(deltas.tensors.at("fc.weight").values.equal(torch::tensor({2.0f, 4.0f})));

  const auto save = [&](const Base& base) {
    return [&directory, &weights, base] { save_peft_adapter(directory.path(), weights, base); };
  };
  expect_error<Error>(save({{"fc.weight", torch::zeros({4, 8})}}), {"fc.weight", "differ"});
  expect_error<Error>(save({{"fc.weight", torch::ones({8, 4})}}), {"fc.weight", "[8, 4]"});
  expect_error<Error>(save({}), {"fc.weight", "no such parameter"});
}

TEST(PeftAdapter, NoValuesThatAreNotFinite) {
  TemporaryDirectory directory;
  SparseAdapter deltas;
  deltas.kind = ValueKind::kDeltas;
  deltas.tensors.emplace("fc.weight", at_positions({3}, {NAN}));
  expect_error<ShapeError>([&] { save_peft_adapter(directory.path(), deltas, {}); },
                           {"fc.weight", "finite"});
}

TEST(PeftAdapter, NoWholeTensors) {
  TemporaryDirectory directory;
  SparseAdapter difference;
  difference.whole.emplace("norm.weight", torch::ones({4}));
  expect_error<ShapeError>([&] { save_peft_adapter(directory.path(), difference, {}); },
                           {"norm.weight", "whole"});
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

}  // namespace
}  // namespace shira
