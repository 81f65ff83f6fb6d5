// Windows, prompts, which tokens carry loss, and which samples are held out.
#include "data/dataset_file.h"
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/data/dataset.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace shira {
namespace {

using DatasetTest = DatasetFileTest;

TokenIds joined_ids(const std::vector<Sample>& samples) {
  TokenIds ids;
  for (const Sample& sample : samples) {
    EXPECT_EQ(sample.labels, sample.ids) << "a window is learnt whole";
    ids.insert(ids.end(), sample.ids.begin(), sample.ids.end());
  }
  return ids;
}

TEST_F(DatasetTest, AnUnknownTypeListsTheKnownOnes) {
  expect_error<ConfigError>([&] { load("alpacca", "[]"); },
                            {"alpacca", "alpaca, completion, messages, sharegpt, text"});
  expect_error<ConfigError>([&] { load("text", "A text.", {.sequence_len = 1}); },
                            {"sequence_len 1", "2 or more"});
}

TEST_F(DatasetTest, TextBecomesConsecutiveWindowsThatAreLearntWhole) {
  const std::string text = "One day, a little girl named Lily found a needle in her room.";
  const TokenIds whole = tokenizer_.encode(text);
  ASSERT_EQ(whole.size(), 16U);
  const auto samples = load("text", text, {.sequence_len = 6});
  EXPECT_EQ(joined_ids(samples), whole);
  ASSERT_EQ(samples.size(), 3U);  // of 6, 6 and 4 tokens
  EXPECT_EQ(samples[2].ids.size(), 4U);
}

TEST_F(DatasetTest, ASingleTokenThatIsLeftOverIsDropped) {
  const std::string text = "One day, a little girl named Lily found a needle in her room.";
  const auto samples = load("text", text, {.sequence_len = 15});
  ASSERT_EQ(samples.size(), 1U);
  EXPECT_EQ(samples[0].ids.size(), 15U);
}

TEST_F(DatasetTest, ACompletionLosesNothingAndEndsOnce) {
  const std::string text = "One day, a little girl named Lily found a needle in her room.";
  TokenIds first = tokenizer_.encode(text);
  first.push_back(tokenizer_.eos_id());
  TokenIds both = first;
  const TokenIds second = tokenizer_.encode("The end.");
  both.insert(both.end(), second.begin(), second.end());
  both.push_back(tokenizer_.eos_id());
  const auto samples = load("completion", R"([{"text": ")" + text + R"("}, {"text": "The end."}])",
                            {.sequence_len = 5});
  EXPECT_EQ(joined_ids(samples), both);
  for (const Sample& sample : samples) EXPECT_LE(sample.ids.size(), 5U);
}

TEST_F(DatasetTest, ACompletionBeginsWithBosWhereTheModelAsksForIt) {
  std::filesystem::copy_file(asset_directory() / "tokenizer.model", directory_ / "tokenizer.model");
  const Tokenizer tokenizer(directory_.path());  // LLaMA's default: BOS
  write_file(directory_ / "data", R"({"text": "The end."})");
  TokenIds expected = tokenizer.encode("The end.", SpecialTokens::kModel);
  ASSERT_EQ(expected.front(), tokenizer.bos_id());
  expected.push_back(tokenizer.eos_id());
  EXPECT_EQ(joined_ids(load_dataset("completion", directory_ / "data", tokenizer, {})), expected);
}

TEST_F(DatasetTest, OnlyAnAlpacaAnswerAndItsEndCarryLoss) {
  const auto samples = load("alpaca", R"([{"instruction": "Say hi.", "output": "Hi!"}])");
  ASSERT_EQ(samples.size(), 1U);
  const Sample& sample = samples[0];
  EXPECT_EQ(tokenizer_.decode(sample.ids), alpaca_prompt("Say hi.", "") + "Hi!");
  EXPECT_EQ(sample.ids.back(), tokenizer_.eos_id());
  const TokenIds answer = learnt(sample);
  EXPECT_EQ(answer, TokenIds(sample.ids.end() - std::ssize(answer), sample.ids.end()));
  EXPECT_EQ(tokenizer_.decode({sample.ids.begin(), sample.ids.end() - std::ssize(answer)}),
            alpaca_prompt("Say hi.", ""));
}

TEST_F(DatasetTest, TrainOnInputsLearnsThePromptToo) {
  const auto samples =
      load("alpaca", R"({"instruction": "Say hi.", "input": "now", "output": "Hi!"})",
           {.train_on_inputs = true});
  EXPECT_EQ(samples[0].labels, samples[0].ids);
}

TEST_F(DatasetTest, ASampleWhoseAnswerIsCutOffIsLeftOutWithAWord) {
  const std::string content = R"([{"instruction": "Say hi.", "output": "Hi!"},
                                  {"instruction": "Say )" +
                              std::string(200, 'x') + R"(.", "output": "Hi!"}])";
  testing::internal::CaptureStderr();
  const auto samples = load("alpaca", content, {.sequence_len = 150});
  EXPECT_EQ(samples.size(), 1U);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              testing::HasSubstr("1 of 2 samples left out"));
  expect_error<IoError>([&] { load("alpaca", content, {.sequence_len = 10}); },
                        {"no usable sample"});
}

TEST_F(DatasetTest, TextThatIsNotUtf8IsRefused) {
  const auto load_text = [&](const std::string& text) { return load("text", text); };
  expect_error<IoError>([&] { load_text("First line.\nCaf\xE9 au lait."); },
                        {"data:2:4", "not UTF-8", "byte 15"});
  // Unicode 15, table 3-7: a lone continuation, overlong forms, a surrogate, beyond U+10FFFF, cut.
  for (const char* bad :
       {"\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80", "\xE2\x82", "\xE2\x82z", "\xFF"}) {
    expect_error<IoError>([&] { load_text(std::string("abc") + bad); }, {"data:1:4"});
  }
  EXPECT_EQ(
      load_text("\x7F \u0080 \u07FF \u0800 \uD7FF \uE000 \uFFFF \U00010000 \U0010FFFF").size(), 1U);
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
