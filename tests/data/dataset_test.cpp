// Windows, prompts and which tokens carry loss.
#include "data/asset_tokenizer.h"
#include "io/expect_error.h"
#include "io/temporary_directory.h"

#include <shira/base/error.h>
#include <shira/data/dataset.h>
#include <shira/io/atomic_file.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace shira {
namespace {

class DatasetTest : public testing::Test {
 protected:
  std::filesystem::path write(const std::string& content) {
    write_file(directory_ / "data", content);
    return directory_ / "data";
  }

  TemporaryDirectory directory_;
  Tokenizer tokenizer_ = asset_tokenizer();
};

TEST_F(DatasetTest, TextBecomesConsecutiveWindowsThatAreLearntWhole) {
  const std::string text = "One day, a little girl named Lily found a needle in her room.";
  const auto samples = load_text(write(text), tokenizer_, 7);
  TokenIds joined;
  for (const Sample& sample : samples) {
    EXPECT_LE(sample.ids.size(), 7U);
    EXPECT_EQ(sample.labels, sample.ids);
    joined.insert(joined.end(), sample.ids.begin(), sample.ids.end());
  }
  const TokenIds whole = tokenizer_.encode(text);
  EXPECT_EQ(joined,
            TokenIds(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(joined.size())));
  EXPECT_LE(whole.size() - joined.size(), 1U);  // a single token predicts nothing
}

TEST_F(DatasetTest, OnlyTheAnswerAndItsEndCarryLoss) {
  const auto path = write(R"([{"instruction": "Say hi.", "output": "Hi!"}])");
  const auto samples = load_alpaca(path, tokenizer_, {});
  ASSERT_EQ(samples.size(), 1U);
  const Sample& sample = samples[0];
  EXPECT_EQ(sample.ids.back(), tokenizer_.eos_id());
  TokenIds learnt;
  std::copy_if(sample.labels.begin(), sample.labels.end(), std::back_inserter(learnt),
               [](std::int64_t label) { return label != kIgnoreLabel; });
  EXPECT_EQ(learnt.back(), tokenizer_.eos_id());
  learnt.pop_back();
  const TokenIds before(sample.ids.begin(),
                        sample.ids.end() - static_cast<std::ptrdiff_t>(learnt.size()) - 1);
  EXPECT_EQ(tokenizer_.decode(before), alpaca_prompt("Say hi.", ""));
  EXPECT_EQ(tokenizer_.decode(TokenIds(sample.ids.begin(), sample.ids.end())),
            alpaca_prompt("Say hi.", "") + "Hi!");
}

TEST_F(DatasetTest, TrainOnInputsLearnsThePromptToo) {
  const auto path = write(R"({"instruction": "Say hi.", "input": "now", "output": "Hi!"})");
  const auto samples = load_alpaca(path, tokenizer_, {.train_on_inputs = true});
  EXPECT_EQ(samples[0].labels, samples[0].ids);
}

TEST_F(DatasetTest, MalformedRecordsAreNamed) {
  const auto load = [&](const std::string& content) {
    load_alpaca(write(content), tokenizer_, {});
  };
  expect_error<IoError>([&] { load("{\"instruction\": \"a\", \"output\": \"b\"}\n\n{\"x\": }\n"); },
                        {"data:3", "one JSON object a line"});
  expect_error<IoError>([&] { load(R"([{"instruction": "a", "output": "b"}, {"output": "b"}])"); },
                        {"record 2", "instruction"});
  expect_error<IoError>([&] { load(R"([{"instruction": "a", "output": 3}])"); },
                        {"output", "not a text"});
  expect_error<IoError>([&] { load("[1, 2"); }, {"not valid JSON"});
  expect_error<IoError>([&] { load("[]"); }, {"no usable sample"});
}

TEST_F(DatasetTest, ASampleWhoseAnswerIsCutOffIsLeftOut) {
  const auto path = write(R"([{"instruction": "Say hi.", "output": "Hi!"}])");
  expect_error<IoError>([&] { load_alpaca(path, tokenizer_, {.sequence_len = 10}); },
                        {"no usable sample"});
}

/// Samples of one token each: first, first + 1, ...
SampleSet numbered_set(std::int64_t first, std::int64_t count, double weight) {
  SampleSet set{{}, weight};
  for (std::int64_t id = first; id < first + count; ++id) set.samples.push_back({{id}, {id}});
  return set;
}

TEST(SplitDatasets, TakesAShareOrACountAndLosesNothing) {
  for (const auto& [size, expected] : {std::pair{0.25, 5U}, {3.0, 3U}, {0.001, 1U}, {0.0, 0U}}) {
    const auto split = split_datasets({numbered_set(0, 20, 1.0)}, size, 1);
    EXPECT_EQ(split.validation.size(), expected);
    EXPECT_EQ(split.train[0].samples.size(), 20 - expected);
  }
  const auto take = [](double size) { split_datasets({numbered_set(0, 3, 1.0)}, size, 1); };
  expect_error<ConfigError>([&] { take(3.0); }, {"takes 3 of 3 samples"});
  expect_error<ConfigError>([&] { take(1e300); }, {"takes 3 of 3 samples"});
}

TEST(SplitDatasets, ChoosesFromAllSetsTogetherAndKeepsThemApart) {
  const auto split = split_datasets({numbered_set(0, 10, 0.5), numbered_set(10, 30, 2.0)}, 0.5, 1);
  ASSERT_EQ(split.train.size(), 2U);
  EXPECT_EQ(split.train[0].weight, 0.5);
  EXPECT_EQ(split.train[1].weight, 2.0);
  std::set<std::int64_t> ids;
  for (const Sample& sample : split.train[0].samples) {
    EXPECT_LT(sample.ids[0], 10);
    ids.insert(sample.ids[0]);
  }
  for (const Sample& sample : split.train[1].samples) ids.insert(sample.ids[0]);
  EXPECT_EQ(ids.size(), 20U);
  for (const Sample& sample : split.validation) ids.insert(sample.ids[0]);
  EXPECT_EQ(ids.size(), 40U);
}

}  // namespace
}  // namespace shira
