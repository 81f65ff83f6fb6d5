// Types messages and sharegpt: the same conversations under different names.
#include "dataset_types.h"
#include "io/quote.h"
#include "records.h"
#include "sample_parts.h"

#include <shira/base/error.h>
#include <shira/text/chat_template.h>

#include <algorithm>
#include <utility>

namespace shira {
namespace {

using nlohmann::json;

/// How a type spells a conversation.
struct Spelling {
  std::string messages;
  std::string role;
  std::string content;
  std::vector<std::pair<std::string, ChatRole>> roles;
};

/// OpenAI's weight of an assistant's message: 0 or 1.
bool is_learned(const json& message) {
  const auto weight = message.find("weight");
  if (weight == message.end() || weight->is_null()) return true;
  SHIRA_CHECK(IoError, *weight == 0 || *weight == 1, "weight is ", weight->dump(),
              ", expected 0 or 1.");
  return *weight == 1;
}

ChatMessage parse_message(const json& value, const Spelling& spelling) {
  const std::string expected =
      "an object with " + spelling.role + " and " + spelling.content + ", both texts";
  SHIRA_CHECK(IoError, value.is_object(), "got ", value.type_name(), ", expected ", expected, ".");
  for (const char* key : {"tool_calls", "function_call"}) {
    SHIRA_CHECK(IoError, !value.contains(key) || value[key].is_null(), key, " are not supported.");
  }
  const std::string name = text_field(value, spelling.role, expected);
  std::string known;
  for (const auto& [other, role] : spelling.roles) {
    if (other == name) {
      return {role, text_field(value, spelling.content, expected), is_learned(value)};
    }
    known += (known.empty() ? "" : ", ") + other;
  }
  throw IoError(detail::concat("unknown ", spelling.role, " ", detail::quote(name),
                               ". Expected one of ", known, "."));
}

std::vector<ChatMessage> parse_conversation(const json& record, const Spelling& spelling) {
  const auto list = record.find(spelling.messages);
  SHIRA_CHECK(IoError, list != record.end() && list->is_array(), "no list '", spelling.messages,
              "'. Expected {\"", spelling.messages, "\": [{\"", spelling.role, "\": ..., \"",
              spelling.content, "\": ...}, ...]}.");
  std::vector<ChatMessage> messages;
  for (const json& value : *list) {
    try {
      messages.push_back(parse_message(value, spelling));
    } catch (const IoError& error) {
      throw IoError(detail::concat("message ", messages.size() + 1, ": ", error.what()));
    }
  }
  SHIRA_CHECK(IoError,
              std::any_of(messages.begin(), messages.end(),
                          [](const ChatMessage& message) {
                            return message.role == ChatRole::kAssistant && message.is_learned;
                          }),
              "no message of the assistant (of a weight other than 0): there is nothing to learn.");
  return messages;
}

std::vector<Sample> conversation_samples(const json& record, const Spelling& spelling,
                                         const Tokenizer& tokenizer,
                                         const DatasetOptions& options) {
  const ChatTokens tokens =
      encode_chat(tokenizer, options.chat_template, parse_conversation(record, spelling),
                  /*asks=*/false);
  Sample sample;
  sample.ids = tokens.ids;
  for (std::size_t i = 0; i < tokens.ids.size(); ++i) {
    const bool learn = options.train_on_inputs || tokens.answers[i];
    sample.labels.push_back(learn ? tokens.ids[i] : kIgnoreLabel);
  }
  return {cut(std::move(sample), options.sequence_len)};
}

}  // namespace

std::vector<Sample> messages_samples(const json& record, const Tokenizer& tokenizer,
                                     const DatasetOptions& options) {
  static const Spelling spelling = {"messages",
                                    "role",
                                    "content",
                                    {{"system", ChatRole::kSystem},
                                     {"user", ChatRole::kUser},
                                     {"assistant", ChatRole::kAssistant}}};
  return conversation_samples(record, spelling, tokenizer, options);
}

std::vector<Sample> sharegpt_samples(const json& record, const Tokenizer& tokenizer,
                                     const DatasetOptions& options) {
  static const Spelling spelling = {"conversations",
                                    "from",
                                    "value",
                                    {{"system", ChatRole::kSystem},
                                     {"human", ChatRole::kUser},
                                     {"user", ChatRole::kUser},
                                     {"gpt", ChatRole::kAssistant},
                                     {"assistant", ChatRole::kAssistant}}};
  return conversation_samples(record, spelling, tokenizer, options);
}

}  // namespace shira
