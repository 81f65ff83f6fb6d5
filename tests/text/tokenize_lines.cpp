// tokenize_lines DIRECTORY < LINES: for tests. A line is a JSON string, answered with {ids,
// special, text}: without and with the tokenizer's own frame, and the ids decoded; or {template,
// messages}, answered with {ids, answers}.
#include <shira/text/chat_template.h>
#include <shira/text/tokenizer.h>

#include <nlohmann/json.hpp>

#include <exception>
#include <iostream>
#include <string>

namespace {

using nlohmann::json;

json answer_to(const shira::Tokenizer& tokenizer, const json& line) {
  if (line.is_string()) {
    const auto text = line.get<std::string>();
    const shira::TokenIds ids = tokenizer.encode(text);
    return {{"ids", ids},
            {"special", tokenizer.encode(text, shira::SpecialTokens::kModel)},
            {"text", tokenizer.decode(ids)}};
  }
  std::vector<shira::ChatMessage> messages;
  for (const json& message : line["messages"]) {
    const auto role = message["role"].get<std::string>();
    messages.push_back({role == "system" ? shira::ChatRole::kSystem
                        : role == "user" ? shira::ChatRole::kUser
                                         : shira::ChatRole::kAssistant,
                        message["content"].get<std::string>()});
  }
  const auto [ids, answers] = shira::encode_chat(tokenizer, line["template"], messages);
  return {{"ids", ids}, {"answers", answers}};
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "usage: tokenize_lines DIRECTORY < TEXTS\n";
    return 2;
  }
  try {
    const shira::Tokenizer tokenizer(arguments[1]);
    for (std::string line; std::getline(std::cin, line);) {
      std::cout << answer_to(tokenizer, json::parse(line)).dump(-1, ' ', /*ensure_ascii=*/true)
                << "\n";
    }
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
