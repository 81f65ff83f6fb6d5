// shira tokenize: ids and pieces as the model sees them.
#include "commands.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/hub_cache.h>

#include <nlohmann/json.hpp>

#include <iostream>

namespace shira::tools {
namespace {

struct TokenizeFlags {
  std::string base_model;
  std::string text;
  std::string file;
  std::vector<std::int64_t> decode;
  bool special = false;
  bool has_text = false;
  bool has_decode = false;
};

nlohmann::ordered_json encode(const Tokenizer& tokenizer, const TokenizeFlags& flags) {
  const std::string text = flags.file.empty() ? flags.text : read_file(flags.file);
  const TokenIds ids =
      tokenizer.encode(text, flags.special ? SpecialTokens::kModel : SpecialTokens::kNone);
  std::vector<std::string> pieces;
  for (std::int64_t id : ids) pieces.push_back(tokenizer.piece(id));
  return {{"ids", ids}, {"pieces", pieces}};
}

void tokenize(const TokenizeFlags& flags) {
  SHIRA_CHECK(ConfigError, flags.has_text + !flags.file.empty() + flags.has_decode == 1,
              "give exactly one of TEXT, --file and --decode.");
  const Tokenizer tokenizer(resolve_base_model(flags.base_model));
  nlohmann::ordered_json object;
  if (flags.has_decode) {
    object = {{"text", tokenizer.decode(flags.decode)}};
  } else {
    object = encode(tokenizer, flags);
  }
  std::cout << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

}  // namespace

void add_tokenize(CLI::App& app, int&) {
  auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* command = app.add_subcommand("tokenize",
                                         "Text to ids and pieces as JSON, and back; "
                                         "truncation and padding of a tokenizer.json are "
                                         "left out");
  command
      ->add_option("--base_model", flags->base_model,
                   "Directory with a tokenizer (tokenizer.json, tokenizer.model, or vocab.json and "
                   "merges.txt), or org/name in the local HuggingFace cache")
      ->required();
  CLI::Option* text = command->add_option("text", flags->text, "The text");
  command->add_option("--file", flags->file, "A file instead of a text");
  CLI::Option* decode =
      command->add_option("--decode", flags->decode, "Ids to turn into {text}: --decode 1,2,3")
          ->delimiter(',');
  command->add_flag("--special", flags->special,
                    "Add what the tokenizer's files ask for (LLaMA: BOS)");
  command->add_flag("--json")->description("The result is JSON in any case");
  command->callback([flags, text, decode] {
    flags->has_text = text->count() > 0;
    flags->has_decode = decode->count() > 0;
    tokenize(*flags);
  });
}

}  // namespace shira::tools
