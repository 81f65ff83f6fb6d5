// Each template is a function; find_template is the table of them. What separates exchanges is a
// special token, so that tokenising them one by one gives the ids of the whole.
#include <shira/base/error.h>
#include <shira/text/chat_template.h>

#include <functional>
#include <map>
#include <string_view>
#include <utility>

namespace shira {
namespace {

using Messages = std::vector<ChatMessage>;

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

std::vector<ChatExchange> llama_2(const Messages& messages) {
  check_turns(messages);
  std::vector<ChatExchange> exchanges;
  std::string system;
  for (const auto& [role, content] : messages) {
    if (role == ChatRole::kSystem) system = "<<SYS>>\n" + content + "\n<</SYS>>\n\n";
    if (role == ChatRole::kUser) {
      const std::string question = std::exchange(system, "") + content;
      exchanges.push_back(
          {.bos = true, .prompt = detail::concat("[INST] ", strip(question), " [/INST]")});
    }
    if (role == ChatRole::kAssistant) {
      exchanges.back().answer = detail::concat(" ", strip(content), " ");
      exchanges.back().eos = true;
    }
  }
  return exchanges;
}

std::vector<ChatExchange> mistral(const Messages& messages) {
  check_turns(messages);
  std::vector<ChatExchange> exchanges;
  std::string system;
  for (const auto& [role, content] : messages) {
    if (role == ChatRole::kSystem) system = content + "\n\n";
    if (role == ChatRole::kUser) {
      exchanges.push_back(
          {.bos = exchanges.empty(),
           .prompt = detail::concat(" [INST] ", std::exchange(system, ""), content, " [/INST]")});
    }
    if (role == ChatRole::kAssistant) {
      exchanges.back().answer = " " + content;
      exchanges.back().eos = true;
    }
  }
  return exchanges;
}

/// How a template without turns writes a message: `header` of the role, content, `end`, `gap`.
struct Markup {
  std::string_view header_begin;
  std::string_view header_end;
  std::string_view end;
  std::string_view gap;
};

std::vector<ChatExchange> marked(const Messages& messages, const Markup& markup, bool strips) {
  const auto header = [&](ChatRole role) {
    return detail::concat(markup.header_begin, name_of(role), markup.header_end);
  };
  const auto body = [&](const std::string& content) {
    return detail::concat(strips ? strip(content) : content, markup.end);
  };
  std::vector<ChatExchange> exchanges;
  ChatExchange open;
  for (const auto& [role, content] : messages) {
    open.prompt += header(role);
    if (role == ChatRole::kAssistant) {
      open.answer = body(content);
      exchanges.push_back(std::exchange(open, {.prompt = std::string(markup.gap)}));
    } else {
      open.prompt += body(content) + std::string(markup.gap);
    }
  }
  if (messages.back().role != ChatRole::kAssistant) open.prompt += header(ChatRole::kAssistant);
  if (!open.prompt.empty()) exchanges.push_back(std::move(open));
  return exchanges;
}

constexpr std::string_view kLlama3End = "<|eot_id|>";
constexpr std::string_view kChatmlEnd = "<|im_end|>";

std::vector<ChatExchange> llama_3(const Messages& messages) {
  constexpr Markup kMarkup{"<|start_header_id|>", "<|end_header_id|>\n\n", kLlama3End, ""};
  auto exchanges = marked(messages, kMarkup, /*strips=*/true);
  exchanges.front().bos = true;
  return exchanges;
}

std::vector<ChatExchange> chatml(const Messages& messages) {
  return marked(messages, {"<|im_start|>", "\n", kChatmlEnd, "\n"}, /*strips=*/false);
}

std::vector<ChatExchange> qwen(Messages messages) {
  if (messages.front().role != ChatRole::kSystem) {
    messages.insert(messages.begin(),
                    {ChatRole::kSystem,
                     "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."});
  }
  return chatml(messages);
}

struct Entry {
  std::function<std::vector<ChatExchange>(const Messages&)> apply;
  std::string_view end;  // of an answer; empty: the EOS
};

const Entry& find_template(const std::string& name) {
  static const std::map<std::string, Entry> templates = {{"llama-2", {llama_2, ""}},
                                                         {"llama-3", {llama_3, kLlama3End}},
                                                         {"chatml", {chatml, kChatmlEnd}},
                                                         {"qwen", {qwen, kChatmlEnd}},
                                                         {"mistral", {mistral, ""}}};
  const auto found = templates.find(name);
  if (found != templates.end()) return found->second;
  std::string known;
  for (const auto& [other, entry] : templates) known += (known.empty() ? "" : ", ") + other;
  throw ConfigError("chat_template: unknown template '" + name + "'. Known: " + known + ".");
}

}  // namespace

std::vector<ChatExchange> apply_chat_template(const std::string& name,
                                              const std::vector<ChatMessage>& messages) {
  const Entry& entry = find_template(name);
  SHIRA_CHECK(IoError, !messages.empty(), "a conversation without a message.");
  return entry.apply(messages);
}

ChatTokens encode_chat(const Tokenizer& tokenizer, const std::string& name,
                       const std::vector<ChatMessage>& messages) {
  (void)chat_end_id(tokenizer, name);  // whether the template's tokens are there
  ChatTokens tokens;
  const auto append = [&tokens](const TokenIds& ids, bool answer) {
    tokens.ids.insert(tokens.ids.end(), ids.begin(), ids.end());
    tokens.answers.insert(tokens.answers.end(), ids.size(), answer);
  };
  const auto append_special = [&](std::int64_t id, bool answer) {
    if (id >= 0) append({id}, answer);
  };
  for (const ChatExchange& exchange : apply_chat_template(name, messages)) {
    if (exchange.bos) append_special(tokenizer.bos_id(), /*answer=*/false);
    const auto [prompt, answer] =
        tokenizer.encode_pair(exchange.prompt, exchange.answer.value_or(""));
    append(prompt, /*answer=*/false);
    append(answer, /*answer=*/true);
    if (exchange.eos) append_special(tokenizer.eos_id(), /*answer=*/true);
  }
  return tokens;
}

std::int64_t chat_end_id(const Tokenizer& tokenizer, const std::string& name) {
  const std::string end(find_template(name).end);
  if (end.empty()) return tokenizer.eos_id();
  const std::int64_t id = tokenizer.id_of(end);
  SHIRA_CHECK(ConfigError, id >= 0, "chat_template: ", name, " needs the token '", end,
              "', which this model's tokenizer does not have. Take the template that the model was "
              "made for.");
  return id;
}

}  // namespace shira
