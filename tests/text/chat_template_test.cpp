// Which conversations a template takes, and what it makes of them as text; the ids are held against
// transformers in conversations_test.cpp.
#include "io/expect_error.h"

#include <shira/base/error.h>
#include <shira/text/chat_template.h>

#include <gtest/gtest.h>

namespace shira {
namespace {

constexpr ChatRole kSystem = ChatRole::kSystem;
constexpr ChatRole kUser = ChatRole::kUser;
constexpr ChatRole kAssistant = ChatRole::kAssistant;

TEST(ChatTemplate, Llama2PutsTheSystemMessageIntoTheFirstPrompt) {
  const auto exchanges = apply_chat_template(
      "llama-2", {{kSystem, "S"}, {kUser, "a"}, {kAssistant, "b"}, {kUser, "c"}});
  ASSERT_EQ(exchanges.size(), 2U);
  EXPECT_EQ(exchanges[0].prompt, "[INST] <<SYS>>\nS\n<</SYS>>\n\na [/INST]");
  EXPECT_EQ(exchanges[0].answer, " b ");
  EXPECT_EQ(exchanges[1].prompt, "[INST] c [/INST]");
  EXPECT_EQ(exchanges[1].answer, std::nullopt);
}

TEST(ChatTemplate, StripsTheSpacesThatPythonStrips) {
  for (const std::string space : {" \n\t", "\x1C", "\xC2\x85", "\u00A0 \u3000", "\u2007\u2028"}) {
    const auto exchanges = apply_chat_template("llama-2", {{kUser, space + "a b" + space}});
    EXPECT_EQ(exchanges[0].prompt, "[INST] a b [/INST]");
  }
  EXPECT_EQ(apply_chat_template("llama-2", {{kUser, "\u200B"}})[0].prompt, "[INST] \u200B [/INST]");
  EXPECT_EQ(apply_chat_template("llama-2", {{kUser, " \n "}})[0].prompt, "[INST]  [/INST]");
}

TEST(ChatTemplate, UserAndAssistantMustTakeTurns) {
  const auto apply = [](const std::vector<ChatMessage>& messages) {
    apply_chat_template("llama-2", messages);
  };
  expect_error<IoError>([&] { apply({{kAssistant, "a"}}); },
                        {"message 1 is the assistant's, expected the user's", "take turns"});
  expect_error<IoError>([&] { apply({{kSystem, "s"}, {kAssistant, "a"}}); },
                        {"message 2 is the assistant's, expected the user's"});
  expect_error<IoError>([&] { apply({{kUser, "a"}, {kUser, "b"}}); },
                        {"message 2 is the user's, expected the assistant's"});
  expect_error<IoError>([&] { apply({{kUser, "a"}, {kAssistant, "b"}, {kSystem, "s"}}); },
                        {"message 3 is the system's, expected the user's"});
}

TEST(ChatTemplate, AnUnknownNameListsTheKnownOnes) {
  expect_error<ConfigError>([] { apply_chat_template("llama2", {{kUser, "a"}}); },
                            {"llama2", "Known: chatml, llama-2"});
}

}  // namespace
}  // namespace shira
