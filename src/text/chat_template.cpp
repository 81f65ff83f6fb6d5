// Each template is a function; find_template is the table of them.
#include <shira/base/error.h>
#include <shira/text/chat_template.h>

#include <algorithm>
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
  SHIRA_CHECK(IoError, messages.size() > (has_system ? 1U : 0U), "no message of the user.");
  for (std::size_t i = has_system ? 1 : 0; i < messages.size(); ++i) {
    const bool users = (i % 2 == 1) == has_system;
    const ChatRole expected = users ? ChatRole::kUser : ChatRole::kAssistant;
    SHIRA_CHECK(IoError, messages[i].role == expected, "message ", i + 1, " is the ",
                name_of(messages[i].role), "'s, expected the ", name_of(expected),
                "'s: user and assistant take turns, the user first, after at most one message of "
                "the system.");
  }
}

/// How a template with turns writes them.
struct Turns {
  std::string_view system_begin;
  std::string_view system_end;
  std::string_view user_begin;
  std::string_view answer_end;
  bool strips = false;
  bool bos_each = false;  // the BOS stands before every exchange, not only before the first
};

std::vector<ChatExchange> take_turns(const Messages& messages, const Turns& turns) {
  check_turns(messages);
  const auto body = [&](std::string_view text) { return turns.strips ? strip(text) : text; };
  std::vector<ChatExchange> exchanges;
  std::string system;
  for (const ChatMessage& message : messages) {
    if (message.role == ChatRole::kSystem) {
      system = detail::concat(turns.system_begin, message.content, turns.system_end);
    } else if (message.role == ChatRole::kUser) {
      const std::string question = std::exchange(system, "") + message.content;
      exchanges.push_back({.bos = turns.bos_each || exchanges.empty(),
                           .prompt = detail::concat(turns.user_begin, body(question), " [/INST]")});
    } else {
      ChatExchange& exchange = exchanges.back();
      exchange.answer = detail::concat(" ", body(message.content), turns.answer_end);
      exchange.eos = true;
      exchange.is_learned = message.is_learned;
    }
  }
  return exchanges;
}

std::vector<ChatExchange> llama_2(const Messages& messages, bool /*asks*/) {
  return take_turns(messages, {"<<SYS>>\n", "\n<</SYS>>\n\n", "[INST] ", " ", true, true});
}

std::vector<ChatExchange> mistral(const Messages& messages, bool /*asks*/) {
  return take_turns(messages, {"", "\n\n", " [INST] ", "", false, false});
}

/// How a template without turns writes a message: `header` of the role, content, `end`, `gap`.
struct Markup {
  std::string_view header_begin;
  std::string_view header_end;
  std::string_view end;
  std::string_view gap;
};

std::vector<ChatExchange> marked(const Messages& messages, const Markup& markup, bool strips,
                                 bool asks) {
  const auto header = [&](ChatRole role) {
    return detail::concat(markup.header_begin, name_of(role), markup.header_end);
  };
  const auto body = [&](const std::string& content) {
    return detail::concat(strips ? strip(content) : content, markup.end);
  };
  std::vector<ChatExchange> exchanges;
  ChatExchange open;
  for (const auto& [role, content, is_learned] : messages) {
    open.prompt += header(role);
    if (role == ChatRole::kAssistant) {
      open.answer = body(content);
      open.is_learned = is_learned;
      exchanges.push_back(std::exchange(open, {.prompt = std::string(markup.gap)}));
    } else {
      open.prompt += body(content) + std::string(markup.gap);
    }
  }
  if (asks && messages.back().role != ChatRole::kAssistant) {
    open.prompt += header(ChatRole::kAssistant);
  }
  if (!open.prompt.empty()) exchanges.push_back(std::move(open));
  return exchanges;
}

std::vector<ChatExchange> llama_3(const Messages& messages, bool asks) {
  constexpr Markup kMarkup{"<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>", ""};
  auto exchanges = marked(messages, kMarkup, /*strips=*/true, asks);
  exchanges.front().bos = true;
  return exchanges;
}

std::vector<ChatExchange> chatml(const Messages& messages, bool asks) {
  return marked(messages, {"<|im_start|>", "\n", "<|im_end|>", "\n"}, /*strips=*/false, asks);
}

std::vector<ChatExchange> qwen(Messages messages, bool asks) {
  if (messages.front().role != ChatRole::kSystem) {
    messages.insert(messages.begin(),
                    {ChatRole::kSystem,
                     "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."});
  }
  return chatml(messages, asks);
}

struct Entry {
  std::function<std::vector<ChatExchange>(const Messages&, bool)> apply;
  std::vector<std::string> tokens;  // that it writes; the last one ends an answer. None: the EOS
  std::string_view bos = "";        // what the BOS is called; empty: there is none
};

const Entry& find_template(const std::string& name) {
  static const std::vector<std::string> headers = {"<|start_header_id|>", "<|end_header_id|>",
                                                   "<|eot_id|>"};
  static const std::vector<std::string> marks = {"<|im_start|>", "<|im_end|>"};
  static const std::map<std::string, Entry> templates = {
      {"llama-2", {llama_2, {}, "<s>"}},
      {"llama-3", {llama_3, headers, "<|begin_of_text|>"}},
      {"chatml", {chatml, marks}},
      {"qwen", {qwen, marks}},
      {"mistral", {mistral, {}, "<s>"}}};
  const auto found = templates.find(name);
  if (found != templates.end()) return found->second;
  std::string known;
  for (const auto& [other, entry] : templates) known += (known.empty() ? "" : ", ") + other;
  throw ConfigError("chat_template: unknown template '" + name + "'. Known: " + known + ".");
}

/// `role`: of which key of tokenizer_config.json the token is.
void require_token(bool is_there, const std::string& name, std::string_view token,
                   std::string_view role = "") {
  SHIRA_CHECK(ConfigError, is_there, "chat_template: ", name, " needs the token '", token, "'",
              role.empty() ? "" : " as ", role,
              ", which this model's tokenizer does not have. Take the template that the model was "
              "made for.");
}

void check_tokens(const Tokenizer& tokenizer, const std::string& name) {
  const Entry& entry = find_template(name);
  for (const std::string& token : entry.tokens) {
    require_token(tokenizer.id_of(token) >= 0, name, token);
  }
  if (!entry.bos.empty()) require_token(tokenizer.bos_id() >= 0, name, entry.bos, "bos_token");
}

/// A stretch of the rendered conversation.
struct Stretch {
  std::string text;
  std::int64_t id = -1;  // BOS or EOS, whose text it is
  bool is_answer = false;
};

std::vector<Stretch> render(const Tokenizer& tokenizer,
                            const std::vector<ChatExchange>& exchanges) {
  const auto special = [&](std::int64_t id, bool is_answer) -> Stretch {
    return {id < 0 ? "" : tokenizer.piece(id), id, is_answer};
  };
  std::vector<Stretch> stretches;
  for (const ChatExchange& exchange : exchanges) {
    if (exchange.bos) stretches.push_back(special(tokenizer.bos_id(), false));
    stretches.push_back({exchange.prompt});
    stretches.push_back({exchange.answer.value_or(""), -1, exchange.is_learned});
    if (exchange.eos) stretches.push_back(special(tokenizer.eos_id(), exchange.is_learned));
  }
  return stretches;
}

/// Whether the text of every BOS and EOS is found as that token.
bool finds_special_tokens(const Tokenizer& tokenizer, const std::vector<Stretch>& stretches) {
  return std::all_of(stretches.begin(), stretches.end(), [&](const Stretch& stretch) {
    return stretch.id < 0 || tokenizer.encode(stretch.text) == TokenIds{stretch.id};
  });
}

void append_whole(const Tokenizer& tokenizer, const std::vector<Stretch>& stretches,
                  ChatTokens& tokens) {
  std::vector<std::string> texts;
  for (const Stretch& stretch : stretches) texts.push_back(stretch.text);
  const std::vector<TokenIds> ids = tokenizer.encode_parts(texts);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    tokens.ids.insert(tokens.ids.end(), ids[i].begin(), ids[i].end());
    tokens.answers.insert(tokens.answers.end(), ids[i].size(), stretches[i].is_answer);
  }
}

/// Texts between special tokens for themselves.
void append_apart(const Tokenizer& tokenizer, const std::vector<Stretch>& stretches,
                  ChatTokens& tokens) {
  std::vector<Stretch> open;
  const auto flush = [&] { append_whole(tokenizer, std::exchange(open, {}), tokens); };
  for (const Stretch& stretch : stretches) {
    if (stretch.id < 0) {
      open.push_back(stretch);
      continue;
    }
    flush();
    tokens.ids.push_back(stretch.id);
    tokens.answers.push_back(stretch.is_answer);
  }
  flush();
}

}  // namespace

std::vector<ChatExchange> apply_chat_template(const std::string& name,
                                              const std::vector<ChatMessage>& messages, bool asks) {
  const Entry& entry = find_template(name);
  SHIRA_CHECK(IoError, !messages.empty(), "a conversation without a message.");
  return entry.apply(messages, asks);
}

ChatTokens encode_chat(const Tokenizer& tokenizer, const std::string& name,
                       const std::vector<ChatMessage>& messages, bool asks) {
  check_tokens(tokenizer, name);
  (void)chat_end_id(tokenizer, name);
  const std::vector<Stretch> stretches =
      render(tokenizer, apply_chat_template(name, messages, asks));
  ChatTokens tokens;
  finds_special_tokens(tokenizer, stretches) ? append_whole(tokenizer, stretches, tokens)
                                             : append_apart(tokenizer, stretches, tokens);
  return tokens;
}

std::int64_t chat_end_id(const Tokenizer& tokenizer, const std::string& name) {
  const std::vector<std::string>& tokens = find_template(name).tokens;
  if (tokens.empty()) {
    require_token(tokenizer.eos_id() >= 0, name, "</s>", "eos_token");
    return tokenizer.eos_id();
  }
  require_token(tokenizer.id_of(tokens.back()) >= 0, name, tokens.back());
  return tokenizer.id_of(tokens.back());
}

}  // namespace shira
