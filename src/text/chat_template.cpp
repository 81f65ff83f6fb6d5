// Each template is a function; find_template is the table of them.
#include <shira/base/error.h>
#include <shira/data/chat_template.h>

#include <map>
#include <string_view>
#include <utility>

namespace shira {
namespace {

using Messages = std::vector<ChatMessage>;
using ChatTemplate = std::vector<ChatExchange> (*)(const Messages&);

std::string_view name_of(ChatRole role) {
  if (role == ChatRole::kSystem) return "system";
  return role == ChatRole::kUser ? "user" : "assistant";
}

/// As Python's str.strip, which the templates call.
std::string_view strip(std::string_view text) {
  static constexpr std::string_view kSpaces[] = {
      " ",      "\t",     "\n",       "\v",     "\f",     "\r",     "\x1C",   "\x1D",
      "\x1E",   "\x1F",   "\xC2\x85", "\u00A0", "\u1680", "\u2000", "\u2001", "\u2002",
      "\u2003", "\u2004", "\u2005",   "\u2006", "\u2007", "\u2008", "\u2009", "\u200A",
      "\u2028", "\u2029", "\u202F",   "\u205F", "\u3000"};
  std::size_t size = 0;
  while (size != text.size()) {
    size = text.size();
    for (const std::string_view space : kSpaces) {
      if (text.starts_with(space)) text.remove_prefix(space.size());
      if (text.ends_with(space)) text.remove_suffix(space.size());
    }
  }
  return text;
}

std::vector<ChatExchange> llama_2(const Messages& messages) {
  std::vector<ChatExchange> exchanges;
  std::string system;
  for (const auto& [role, content] : messages) {
    if (role == ChatRole::kSystem) system = "<<SYS>>\n" + content + "\n<</SYS>>\n\n";
    if (role == ChatRole::kUser) {
      const std::string question = std::exchange(system, "") + content;
      exchanges.push_back({detail::concat("[INST] ", strip(question), " [/INST]"), std::nullopt});
    }
    if (role == ChatRole::kAssistant) {
      exchanges.back().answer = detail::concat(" ", strip(content), " ");
    }
  }
  return exchanges;
}

ChatTemplate find_template(const std::string& name) {
  static const std::map<std::string, ChatTemplate> templates = {{"llama-2", llama_2}};
  const auto found = templates.find(name);
  if (found != templates.end()) return found->second;
  std::string known;
  for (const auto& [other, function] : templates) known += (known.empty() ? "" : ", ") + other;
  throw ConfigError("chat_template: unknown template '" + name + "'. Known: " + known + ".");
}

void check_turns(const Messages& messages) {
  const bool has_system = !messages.empty() && messages.front().role == ChatRole::kSystem;
  for (std::size_t i = has_system ? 1 : 0; i < messages.size(); ++i) {
    const bool users = (i % 2 == 1) == has_system;
    const ChatRole expected = users ? ChatRole::kUser : ChatRole::kAssistant;
    SHIRA_CHECK(IoError, messages[i].role == expected, "message ", i + 1, " is the ",
                name_of(messages[i].role), "'s, expected the ", name_of(expected),
                "'s: user and assistant take turns, the user first, after at most one message of "
                "the system.");
  }
}

}  // namespace

std::vector<ChatExchange> apply_chat_template(const std::string& name,
                                              const std::vector<ChatMessage>& messages) {
  const ChatTemplate apply = find_template(name);
  check_turns(messages);
  return apply(messages);
}

}  // namespace shira
