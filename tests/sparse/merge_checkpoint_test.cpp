// What merge writes, what it keeps, and that it writes nothing where something is wrong.
#include "checkpoint_directory.h"
#include "io/expect_error.h"
#include "io/file_size_limit.h"
#include "io/temporary_directory.h"

#include <shira/base/error.h>
#include <shira/sparse/merge_checkpoint.h>
#include <shira/sparse/scatter_into.h>

#include <gtest/gtest.h>

#include <limits>

namespace shira {
namespace {

namespace fs = std::filesystem;

/// Position 1 of a tensor of 4 entries becomes `value`.
SparseTensor one_entry(const torch::Tensor& base, double value) {
  const torch::Tensor indices = at::tensor({1}, torch::kInt32);
  const torch::Tensor original = gather_from(base, indices);
  return {SparseMask(base.sizes().vec(), indices), at::full_like(original, value),
          base_checksum(original, base.scalar_type())};
}

class MergeCheckpoint : public testing::Test {
 protected:
  MergeCheckpoint() {
    write_checkpoint(directory_ / "base", base_);
    adapter_.tensors = {{"a", one_entry(base_.at("a"), 5.0)}};
  }

  MergeReport merge(const std::vector<ScaledAdapter>& adapters, MergeOptions options = {}) {
    return merge_checkpoint(directory_ / "base", adapters, directory_ / "merged", options);
  }

  /// Error with `words`, and nothing is left of it.
  void expect_refused(const std::vector<ScaledAdapter>& adapters,
                      std::initializer_list<std::string_view> words) {
    expect_error<Error>([&] { merge(adapters); }, words);
    expect_base_alone();
  }

  void expect_base_alone() {
    for (const auto& entry : fs::directory_iterator(directory_.path())) {
      EXPECT_EQ(entry.path().filename(), "base");
    }
  }

  torch::Tensor merged(const std::string& name) {
    return map_tensor(CheckpointFiles(directory_ / "merged").view(name));
  }

  TensorsByName base_{{"a", at::tensor({1.0F, 2.0F, 3.0F, 4.0F})},
                      {"b", at::ones({4}, torch::kBFloat16)},
                      {"c", at::arange(4)}};
  TemporaryDirectory directory_;
  SparseAdapter adapter_;
};

TEST_F(MergeCheckpoint, WritesTheEntriesAndKeepsAllElse) {
  const MergeReport report = merge({{adapter_}});
  EXPECT_TRUE(merged("a").equal(at::tensor({1.0F, 5.0F, 3.0F, 4.0F})));
  EXPECT_TRUE(merged("b").equal(base_["b"]));
  EXPECT_TRUE(merged("c").equal(base_["c"]));
  EXPECT_EQ(report.tensors, 3);
  EXPECT_EQ(report.patched, 1);
  EXPECT_EQ(report.bytes, 16 + 8 + 32);
  const auto metadata = SafetensorsFile(directory_ / "merged" / "model.safetensors").metadata();
  EXPECT_EQ(metadata.at("format"), "pt");
  EXPECT_EQ(read_file(directory_ / "merged" / "config.json"),
            read_file(directory_ / "base" / "config.json"));
}

TEST_F(MergeCheckpoint, AtScaleZeroItIsTheBase) {
  adapter_.whole = {{"b", at::zeros({4}, torch::kBFloat16)}};
  adapter_.removed = {"c"};
  merge({{adapter_, 0.0}});
  expect_equal_checkpoints(directory_ / "merged", directory_ / "base");
}

TEST_F(MergeCheckpoint, AnUntouchedShardIsCopiedByteForByte) {
  fs::remove_all(directory_ / "base");
  write_checkpoint(directory_ / "base", base_, /*sharded=*/true);
  // a, c | b. A reader skips spaces in the header; a copy keeps them.
  const fs::path shard = directory_ / "base" / "1.safetensors";
  std::string content = read_file(shard);
  content.insert(8 + static_cast<std::size_t>(content[0]), std::string(64, ' '));
  content[0] = static_cast<char>(content[0] + 64);
  write_file(shard, content);
  merge({{adapter_}});
  EXPECT_EQ(read_file(directory_ / "merged" / "1.safetensors"), content);
  EXPECT_TRUE(merged("a").equal(at::tensor({1.0F, 5.0F, 3.0F, 4.0F})));
  EXPECT_NE(
      read_file(directory_ / "merged" / "model.safetensors.index.json").find("\"total_size\": 56"),
      std::string::npos);
}

TEST_F(MergeCheckpoint, AShardThatLosesAllItsTensorsIsNotWritten) {
  fs::remove_all(directory_ / "base");
  write_checkpoint(directory_ / "base", base_, /*sharded=*/true);
  adapter_.removed = {"b"};
  const MergeReport report = merge({{adapter_}});
  EXPECT_EQ(report.removed, 1);
  EXPECT_FALSE(fs::exists(directory_ / "merged" / "1.safetensors"));
  EXPECT_EQ(CheckpointFiles(directory_ / "merged").names(), (std::vector<std::string>{"a", "c"}));
}

TEST_F(MergeCheckpoint, SeveralAreAddedUpInFloat64) {
  SparseAdapter other = adapter_;
  other.tensors = {{"a", one_entry(base_.at("a"), -1.0)}};
  merge({{adapter_, 0.5}, {other, 2.0}});
  EXPECT_EQ(merged("a")[1].item<float>(), 2.0F + 0.5F * 3.0F + 2.0F * -3.0F);
}

TEST_F(MergeCheckpoint, IntegersAreReplacedButNotScaled) {
  adapter_.mask_type = "diff";
  adapter_.tensors = {{"c", one_entry(base_.at("c"), 9.0)}};
  expect_refused({{adapter_, 0.5}}, {"c: the base's dtype is int64", "at scale 1"});
  expect_refused({{adapter_}, {adapter_}}, {"c: the base's dtype is int64", "alone"});
  merge({{adapter_}});
  EXPECT_TRUE(merged("c").equal(at::tensor({0, 9, 2, 3}, torch::kInt64)));
}

TEST_F(MergeCheckpoint, AllThatDoesNotFitIsToldAtOnce) {
  adapter_.tensors.emplace("absent", adapter_.tensors.at("a"));
  adapter_.tensors.emplace("b", one_entry(at::ones({2, 2}, torch::kBFloat16), 1.0));
  adapter_.tensors.at("a").base_checksum = 1;
  expect_refused({{adapter_}},
                 {"a: the base's values under the mask differ", "absent: the base has no",
                  "b: the base has shape [4], the adapter [2, 2]"});
}

TEST_F(MergeCheckpoint, AnotherBaseGoesOnByForceOnly) {
  adapter_.tensors.at("a").base_checksum = 1;
  expect_refused({{adapter_}}, {"--force"});
  merge({{adapter_}}, {.force = true, .progress = {}});
  EXPECT_EQ(merged("a")[1].item<float>(), 5.0F);
}

TEST_F(MergeCheckpoint, AddingAndRemovingWorkAloneAndWhole) {
  SparseAdapter adds, removes;
  adds.whole = {{"new", at::ones({2})}};
  adds.added = {"new"};
  removes.removed = {"c"};
  expect_refused({{adds, 0.5}}, {"new: one adapter adds it", "scale 1"});
  expect_refused({{adds}, {adds}}, {"new: one adapter adds it", "no two adapters"});
  expect_refused({{removes, 2.0}}, {"c: one adapter removes it"});
  SparseAdapter again = adds;
  again.whole = {{"a", at::ones({2})}};
  again.added = {"a"};
  expect_refused({{again}}, {"a: the adapter adds it, but the base has it already"});
  removes.removed = {"absent"};
  expect_refused({{removes}}, {"absent: the base has no such tensor"});
  merge({{adds}, {adapter_}});
  EXPECT_TRUE(merged("new").equal(at::ones({2})));
}

TEST_F(MergeCheckpoint, AFullDiskLeavesNothing) {
  fs::remove_all(directory_ / "base");
  base_["b"] = at::ones({10'000});
  write_checkpoint(directory_ / "base", base_);
  {
    const FileSizeLimit limit(20'000);
    expect_error<IoError>([&] { merge({{adapter_}}); }, {"model.safetensors", "File too large"});
  }
  expect_base_alone();
}

TEST_F(MergeCheckpoint, WhatExistsStays) {
  fs::create_directory(directory_ / "merged");
  expect_error<IoError>([&] { merge({{adapter_}}); }, {"merged: exists already"});
  EXPECT_TRUE(fs::is_empty(directory_ / "merged"));
  expect_error<IoError>(
      [&] { merge_checkpoint(directory_ / "base", {{adapter_}}, directory_ / "base"); },
      {"base: exists already"});
  expect_equal_checkpoints(directory_ / "base", directory_ / "base");
}

TEST_F(MergeCheckpoint, ATruncatedBaseIsRefused) {
  const fs::path file = directory_ / "base" / "model.safetensors";
  fs::resize_file(file, fs::file_size(file) - 1);
  expect_refused({{adapter_}}, {"model.safetensors"});
}

TEST_F(MergeCheckpoint, ProgressEndsAtTheTotal) {
  std::uint64_t last = 0;
  merge({{adapter_}},
        {.force = false, .progress = [&last](std::uint64_t done, std::uint64_t total) {
           EXPECT_EQ(total, 56);
           EXPECT_GT(done, last);
           last = done;
         }});
  EXPECT_EQ(last, 56);
}

}  // namespace
}  // namespace shira
