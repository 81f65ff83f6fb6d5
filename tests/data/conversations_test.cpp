// Ids as scripts/make_chat_ids.py prints them, with transformers 5.23.0 and sentencepiece 0.2.3.
#include "data/dataset_file.h"
#include "io/expect_error.h"

#include <shira/base/error.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

using ConversationsTest = DatasetFileTest;

const TokenIds kOneExchange = {1,   928,  1014, 958, 978, 956, 953, 1016, 299, 289, 271, 935, 941,
                               928, 1014, 1004, 958, 978, 956, 953, 1016, 311, 935, 961, 928, 2};
const TokenIds kTwoExchanges = {
    1,    928,  1014, 958, 978, 956, 953, 1016, 928,  1010, 1010, 956,  970, 956,
    1012, 1012, 949,  543, 427, 887, 941, 748,  1010, 1010, 1004, 956,  970, 956,
    1012, 1012, 285,  949, 956, 289, 271, 935,  941,  928,  1014, 1004, 958, 978,
    956,  953,  1016, 311, 935, 961, 928, 2,    1,    928,  1014, 958,  978, 956,
    953,  1016, 438,  945, 461, 971, 928, 1014, 1004, 958,  978,  956,  953, 1016,
    311,  935,  949,  540, 461, 952, 278, 930,  948,  198,  172,  928,  2};
const TokenIds kOpenEnd = {1,   928, 1014, 958, 978,  956, 953,  1016, 438, 971, 928,  1014, 1004,
                           958, 978, 956,  953, 1016, 928, 928,  2,    1,   928, 1014, 958,  978,
                           956, 953, 1016, 368, 971,  928, 1014, 1004, 958, 978, 956,  953,  1016};

const std::string kTwoExchangesRecord =
    R"({"messages": [{"role": "system", "content": " You are kind. "},
                     {"role": "user", "content": "\nSay hi."},
                     {"role": "assistant", "content": "Hi!"},
                     {"role": "user", "content": "Again?"},
                     {"role": "assistant", "content": "Hi\nagain, café"}]})";

/// As one line, for JSONL.
std::string on_one_line(std::string text) {
  std::erase(text, '\n');
  return text;
}

TEST_F(ConversationsTest, IdsAreThoseOfTransformersAndTheAnswersCarryLoss) {
  const auto samples = load(
      "messages",
      R"({"messages": [{"role": "user", "content": " \u2003Say hi.\n"},)"
      R"( {"role": "assistant", "content": "\tHi!\u00a0"}]})"
      "\n" +
          on_one_line(kTwoExchangesRecord) +
          "\n"
          R"({"messages": [{"role": "user", "content": "A?"}, {"role": "assistant", "content": ""},)"
          R"( {"role": "user", "content": "B?"}]})");
  ASSERT_EQ(samples.size(), 3U);
  EXPECT_EQ(samples[0].ids, kOneExchange);
  EXPECT_EQ(samples[1].ids, kTwoExchanges);
  EXPECT_EQ(samples[2].ids, kOpenEnd);
  EXPECT_EQ(learnt(samples[0]), (TokenIds{311, 935, 961, 928, 2}));  // " Hi! " and EOS
  EXPECT_EQ(learnt(samples[1]), (TokenIds{311, 935, 961, 928, 2, 311, 935, 949, 540, 461, 952, 278,
                                          930, 948, 198, 172, 928, 2}));
  EXPECT_EQ(learnt(samples[2]), (TokenIds{928, 928, 2}));  // the last question has no answer
  for (const Sample& sample : samples) {
    for (std::size_t i = 0; i < sample.ids.size(); ++i) {
      EXPECT_TRUE(sample.labels[i] == kIgnoreLabel || sample.labels[i] == sample.ids[i]);
    }
  }
}

TEST_F(ConversationsTest, SharegptIsTheSameUnderOtherNames) {
  const auto samples = load("sharegpt", R"([{"conversations": [
      {"from": "system", "value": " You are kind. "}, {"from": "human", "value": "\nSay hi."},
      {"from": "gpt", "value": "Hi!"}, {"from": "user", "value": "Again?"},
      {"from": "assistant", "value": "Hi\nagain, café"}]}])");
  ASSERT_EQ(samples.size(), 1U);
  EXPECT_EQ(samples[0].ids, kTwoExchanges);
}

TEST_F(ConversationsTest, TrainOnInputsLearnsEverything) {
  const auto samples = load("messages", "[" + kTwoExchangesRecord + "]", {.train_on_inputs = true});
  EXPECT_EQ(samples[0].labels, kTwoExchanges);
}

TEST_F(ConversationsTest, AreCutAtTheEnd) {
  const auto samples = load("messages", "[" + kTwoExchangesRecord + "]", {.sequence_len = 46});
  ASSERT_EQ(samples.size(), 1U);
  EXPECT_EQ(samples[0].ids, TokenIds(kTwoExchanges.begin(), kTwoExchanges.begin() + 46));
  EXPECT_EQ(learnt(samples[0]), (TokenIds{311}));
  expect_error<IoError>(
      [&] { load("messages", "[" + kTwoExchangesRecord + "]", {.sequence_len = 45}); },
      {"no usable sample"});
}

TEST_F(ConversationsTest, ABrokenOneIsNamedByLineAndMessage) {
  const auto expect = [&](const std::string& type, const std::string& record,
                          std::initializer_list<std::string_view> words) {
    expect_error<IoError>([&] { load(type, "\n" + record); }, {"data:2:1"});
    expect_error<IoError>([&] { load(type, "\n" + record); }, words);
  };
  const auto messages = [](const std::string& list) { return R"({"messages": [)" + list + "]}"; };
  const std::string user = R"({"role": "user", "content": "a"})";
  const std::string assistant = R"({"role": "assistant", "content": "b"})";
  expect("messages", R"({"conversations": []})",
         {"no list 'messages'", R"({"messages": [{"role")"});
  expect("sharegpt", R"({"conversations": 3})", {"no list 'conversations'", R"([{"from": ...)"});
  expect("messages", messages(""), {"no message of the assistant"});
  expect("messages", messages(user), {"no message of the assistant"});
  expect("messages", messages(assistant), {"message 1 is the assistant's"});
  expect("messages", messages(user + "," + user + "," + assistant), {"message 2 is the user's"});
  expect("messages", messages(user + R"(, {"role": "tool", "content": "b"})"),
         {"message 2: unknown role \"tool\"", "system, user, assistant"});
  expect("sharegpt", R"({"conversations": [{"from": "bing", "value": "a"}]})",
         {"message 1: unknown from \"bing\"", "system, human, user, gpt, assistant"});
  expect("messages", messages(user + R"(, {"role": "assistant"})"), {"message 2: no 'content'"});
  expect("messages", messages(user + R"(, {"role": "assistant", "content": [1]})"),
         {"message 2: 'content' is not a text"});
  expect("messages", messages("7"), {"message 1: got number", "role and content"});
}

TEST_F(ConversationsTest, AnUnknownTemplateIsAConfigurationError) {
  expect_error<ConfigError>(
      [&] { load("messages", "[" + kTwoExchangesRecord + "]", {.chat_template = "vicuna"}); },
      {"vicuna", "Known: chatml, llama-2"});
}

}  // namespace
}  // namespace shira
