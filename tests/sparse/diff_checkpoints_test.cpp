// merge of diff is the tuned checkpoint, whatever the two were.
#include "checkpoint_directory.h"
#include "io/temporary_directory.h"

#include <shira/sparse/diff_checkpoints.h>
#include <shira/sparse/merge_checkpoint.h>

#include <gtest/gtest.h>

#include <bit>
#include <random>

namespace shira {
namespace {

/// Base and tuned checkpoints, and what lies between.
class DiffCheckpoints : public testing::Test {
 protected:
  TemporaryDirectory directory_;

  CheckpointDiff diff_of(const TensorsByName& base, const TensorsByName& tuned,
                         bool sharded = false) {
    write_checkpoint(directory_ / "base", base, sharded);
    write_checkpoint(directory_ / "tuned", tuned);
    return diff_checkpoints(directory_ / "base", directory_ / "tuned");
  }

  /// Through a file, as users do it.
  void expect_merge_is_tuned(const CheckpointDiff& diff) {
    save_adapter(directory_ / "adapter", diff.adapter);
    merge_checkpoint(directory_ / "base", {{load_adapter(directory_ / "adapter")}},
                     directory_ / "merged");
    expect_equal_checkpoints(directory_ / "merged", directory_ / "tuned");
  }
};

const std::vector<torch::ScalarType>& all_dtypes() {
  static const std::vector<torch::ScalarType> dtypes = [] {
    std::vector<torch::ScalarType> all;
    for (int i = 0; i <= static_cast<int>(DType::kC64); ++i) {
      all.push_back(to_scalar_type(static_cast<DType>(i)));
    }
    return all;
  }();
  return dtypes;
}

TEST_F(DiffCheckpoints, AllDtypesOfRandomBits) {
  TensorsByName base, tuned;
  for (const torch::ScalarType dtype : all_dtypes()) {
    const std::string name = torch_dtype_name(dtype);
    const torch::Tensor tensor = random_bits({30, 20}, dtype);
    base[name + ".same"] = tuned[name + ".same"] = tensor;
    base[name + ".sparse"] = tensor;
    tuned[name + ".sparse"] = with_flipped_bits(tensor, 10);
    base[name + ".whole"] = tensor;
    tuned[name + ".whole"] = with_flipped_bits(tensor, 2);
    base[name + ".removed"] = tensor;
    tuned[name + ".added"] = tensor;
  }
  for (const bool sharded : {false, true}) {
    const CheckpointDiff diff = diff_of(base, tuned, sharded);
    const auto dtypes = std::ssize(all_dtypes());
    EXPECT_EQ(diff.unchanged, dtypes);
    EXPECT_EQ(std::ssize(diff.adapter.tensors), dtypes);
    EXPECT_EQ(diff.adapter.nnz(), dtypes * 60);
    EXPECT_EQ(std::ssize(diff.adapter.whole), 2 * dtypes);
    EXPECT_EQ(std::ssize(diff.adapter.added), dtypes);
    EXPECT_EQ(std::ssize(diff.adapter.removed), dtypes);
    expect_merge_is_tuned(diff);
    std::filesystem::remove_all(directory_ / "base");
    std::filesystem::remove_all(directory_ / "merged");
  }
}

TEST_F(DiffCheckpoints, RandomCheckpoints) {
  std::mt19937 random(7);
  const auto dtype = [&] { return all_dtypes()[random() % all_dtypes().size()]; };
  const auto shape = [&]() -> std::vector<std::int64_t> {
    switch (random() % 4) {
      case 0: return {};
      case 1: return {static_cast<std::int64_t>(random() % 3)};  // empty ones too
      default: return {1 + static_cast<std::int64_t>(random() % 9), 7};
    }
  };
  for (int round = 0; round < 40; ++round) {
    TensorsByName base, tuned;
    for (int i = 0; i < 8; ++i) {
      const std::string name(1, static_cast<char>('a' + i));
      const torch::Tensor tensor = random_bits(shape(), dtype());
      if (random() % 5 > 0) base[name] = tensor;
      switch (random() % 6) {
        case 0: tuned[name] = random_bits(shape(), dtype()); break;
        case 1: tuned[name] = tensor; break;
        case 2: break;
        default: tuned[name] = with_flipped_bits(tensor, 1 + random() % 20);
      }
    }
    base["z"] = tuned["z"] = at::ones({1});
    SCOPED_TRACE(round);
    expect_merge_is_tuned(diff_of(base, tuned, round % 2 == 0));
    for (const char* name : {"base", "tuned", "merged"}) {
      std::filesystem::remove_all(directory_ / name);
    }
  }
}

TEST_F(DiffCheckpoints, NaNPayloadsAndZerosOfBothSigns) {
  const auto nan = [](std::uint32_t payload) {
    return std::bit_cast<float>(0x7fc00000U | payload);
  };
  const torch::Tensor base = at::zeros({10}), tuned = at::zeros({10});
  auto* before = base.mutable_data_ptr<float>();
  auto* after = tuned.mutable_data_ptr<float>();
  before[1] = after[1] = nan(1);
  before[2] = nan(1);
  after[2] = nan(2);
  after[3] = -0.0F;
  const CheckpointDiff diff = diff_of({{"a", base}}, {{"a", tuned}});
  const SparseTensor& tensor = diff.adapter.tensors.at("a");
  EXPECT_TRUE(tensor.mask.indices().equal(at::tensor({2, 3}, torch::kInt32)));
  expect_merge_is_tuned(diff);
}

TEST_F(DiffCheckpoints, ThirtyPercentAreSparseAndMoreAreWhole) {
  const torch::Tensor base = at::zeros({10}), three = base.clone(), four = base.clone();
  three.slice(0, 0, 3).fill_(1.0);
  four.slice(0, 0, 4).fill_(1.0);
  const CheckpointDiff diff =
      diff_of({{"three", base}, {"four", base}}, {{"three", three}, {"four", four}});
  EXPECT_TRUE(diff.adapter.tensors.contains("three"));
  EXPECT_TRUE(diff.adapter.whole.contains("four"));
}

TEST_F(DiffCheckpoints, AnotherShapeOrDtypeIsWhole) {
  const torch::Tensor ones = at::ones({2, 6});
  const CheckpointDiff diff =
      diff_of({{"shape", ones}, {"dtype", ones}},
              {{"shape", ones.reshape({3, 4})}, {"dtype", ones.to(torch::kBFloat16)}});
  EXPECT_EQ(diff.adapter.whole.size(), 2);
  EXPECT_TRUE(diff.adapter.added.empty());
  expect_merge_is_tuned(diff);
}

TEST_F(DiffCheckpoints, EqualCheckpointsGiveAnEmptyAdapter) {
  const TensorsByName tensors{{"a", at::ones({3})}};
  const CheckpointDiff diff = diff_of(tensors, tensors);
  EXPECT_EQ(diff.unchanged, 1);
  EXPECT_TRUE(diff.adapter.tensors.empty() && diff.adapter.whole.empty());
  expect_merge_is_tuned(diff);
}

TEST_F(DiffCheckpoints, SaysHowFarItIs) {
  const TensorsByName tensors{{"a", at::ones({3})}, {"b", at::ones({1})}};
  write_checkpoint(directory_ / "base", tensors);
  std::vector<std::uint64_t> done;
  diff_checkpoints(directory_ / "base", directory_ / "base",
                   [&done](std::uint64_t bytes, std::uint64_t total) {
                     done.push_back(bytes);
                     EXPECT_EQ(total, 16);
                   });
  EXPECT_EQ(done, (std::vector<std::uint64_t>{12, 16}));
}

}  // namespace
}  // namespace shira
