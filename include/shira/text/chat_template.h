// Conversations as the text that a chat model was trained on.
#pragma once

#include <shira/base/export.h>
#include <shira/text/tokenizer.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shira {

enum class ChatRole { kSystem, kUser, kAssistant };

struct ChatMessage {
  ChatRole role = ChatRole::kUser;
  std::string content;
  bool is_learned = true;  // of the assistant's: whether training learns it
};

/// A question and its answer, or the end of a conversation: what the model is shown, and what it
/// has to say.
struct ChatExchange {
  bool bos = false;  // the BOS stands before it
  std::string prompt;
  std::optional<std::string> answer = std::nullopt;
  bool eos = false;  // the EOS stands behind the answer
  bool is_learned = true;
};

/// A conversation in the template `name`; each renders as transformers' apply_chat_template with
/// the template of
/// - llama-2: meta-llama/Llama-2-7b-chat-hf
/// - llama-3: meta-llama/Meta-Llama-3-8B-Instruct
/// - chatml: OpenAI's, without a message of the system unless there is one
/// - qwen: Qwen/Qwen2.5-7B-Instruct, chatml with a message of the system for those that have none
/// - mistral: mistralai/Mistral-7B-Instruct-v0.2
/// A conversation that ends with the user's message ends with the prompt for an answer, if `asks`.
///
/// IoError, naming the message by number, unless (llama-2, mistral) user and assistant take turns,
/// from the user on, after at most one message of the system. ConfigError lists the known
/// templates.
SHIRA_API std::vector<ChatExchange> apply_chat_template(const std::string& name,
                                                        const std::vector<ChatMessage>& messages,
                                                        bool asks = true);

/// A conversation as the model sees it.
struct ChatTokens {
  TokenIds ids;
  std::vector<bool> answers;  // of each id: whether the assistant has to learn to say it
};

/// The tokens of apply_chat_template: of the whole as one text, as transformers has it; of each
/// exchange for itself where the tokenizer does not find BOS and EOS in a text (tokenizer.model).
/// ConfigError if the tokenizer lacks a special token of the template.
SHIRA_API ChatTokens encode_chat(const Tokenizer& tokenizer, const std::string& name,
                                 const std::vector<ChatMessage>& messages, bool asks = true);

/// The id that ends an answer in the template `name`: <|im_end|>, ..., or the EOS.
SHIRA_API std::int64_t chat_end_id(const Tokenizer& tokenizer, const std::string& name);

}  // namespace shira
