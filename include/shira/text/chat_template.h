// Conversations as the text that a chat model was trained on.
#pragma once

#include <shira/base/export.h>

#include <optional>
#include <string>
#include <vector>

namespace shira {

enum class ChatRole { kSystem, kUser, kAssistant };

struct ChatMessage {
  ChatRole role = ChatRole::kUser;
  std::string content;
};

/// BOS, the prompt, and, where there is an answer, the answer and EOS: tokenised on its own, prompt
/// and answer as one text.
struct ChatExchange {
  std::string prompt;
  std::optional<std::string> answer;
};

/// A conversation in the template `name`:
/// - llama-2: Meta's, equal to transformers' apply_chat_template with the template of
///   meta-llama/Llama-2-7b-chat-hf.
///
/// IoError, naming the message by number, unless user and assistant take turns, from the user on,
/// after at most one message of the system. ConfigError lists the known templates.
SHIRA_API std::vector<ChatExchange> apply_chat_template(const std::string& name,
                                                        const std::vector<ChatMessage>& messages);

}  // namespace shira
