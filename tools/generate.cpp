// shira generate: text from a model with adapters applied.
#include "commands.h"

#include <shira/tasks/generation.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>

namespace shira::tools {
namespace {

struct GenerateFlags {
  ModelFlags model;
  std::vector<std::string> prompts;
  GenerateOptions options;
  bool json = false;
};

nlohmann::ordered_json to_json(const Generated& generated) {
  return {{"text", generated.text},
          {"ids", generated.ids},
          {"finish_reason", generated.finish_reason},
          {"prompt_tokens", generated.prompt_tokens}};
}

void print_json(const std::vector<std::string>& prompts, const std::vector<Generated>& generated) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    nlohmann::ordered_json object = {{"prompt", prompts[i]}};
    object.update(to_json(generated[i]));
    list.push_back(std::move(object));
  }
  const nlohmann::ordered_json object =
      prompts.size() == 1 ? to_json(generated[0]) : nlohmann::ordered_json{{"generations", list}};
  std::cout << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

/// Each text under its prompt, which a heading shows on one line.
void print_texts(const std::vector<std::string>& prompts, const std::vector<Generated>& generated) {
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    std::string heading = prompts[i];
    std::replace(heading.begin(), heading.end(), '\n', ' ');
    std::cout << "--- " << heading << "\n" << generated[i].text << "\n";
  }
}

void generate_texts(GenerateFlags flags) {
  AdaptedModel adapted(flags.model);
  const Tokenizer tokenizer(flags.model.directory());
  const bool streamed = !flags.json && flags.prompts.size() == 1;
  if (streamed) {
    flags.options.on_text = [](std::string_view text) { std::cout << text << std::flush; };
  }
  const std::vector<Generated> generated =
      generate_batch(adapted.model, tokenizer, flags.prompts, flags.options);
  if (streamed) {
    std::cout << std::endl;
  } else if (flags.json) {
    print_json(flags.prompts, generated);
  } else {
    print_texts(flags.prompts, generated);
  }
}

}  // namespace

void add_generate(CLI::App& app, int&) {
  auto flags = std::make_shared<GenerateFlags>();
  GenerateOptions& options = flags->options;
  CLI::App* command = app.add_subcommand(
      "generate",
      "Generate text; a single prompt's is streamed as it comes. Ids of the model that "
      "its tokenizer does not have are never written");
  flags->model.add_to(*command);
  command
      ->add_option("--prompt", flags->prompts,
                   "The text to continue; may be repeated: all are continued together")
      ->allow_extra_args(false)
      ->required();
  CLI::Option* chat =
      command->add_option("--chat", options.chat_template,
                          "Prompts are a user's messages in this chat template: llama-2, llama-3, "
                          "chatml, qwen, mistral");
  command->add_option("--system", options.system, "The system's message before each of them")
      ->needs(chat);
  command->add_option("--max_new_tokens", options.max_new_tokens, "Length limit")
      ->capture_default_str();
  command->add_option("--temperature", options.temperature, "0 is greedy")->capture_default_str();
  command->add_option("--top_k", options.top_k, "Sample among the k most likely tokens; 0 is off")
      ->capture_default_str();
  command
      ->add_option("--top_p", options.top_p,
                   "Sample among the most likely tokens that reach this probability")
      ->capture_default_str();
  command
      ->add_option("--repetition_penalty", options.repetition_penalty,
                   "Above 1: tokens of the prompt and the text so far become less likely; 1 is off")
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Of the sampling")
      ->check(at_least(0))
      ->capture_default_str();
  command->add_option("--stop", options.stop, "End before this text; may be repeated")
      ->allow_extra_args(false);
  command->add_flag("--json", flags->json,
                    "Print {text, ids, finish_reason, prompt_tokens}; for several prompts "
                    "{generations: [{prompt, text, ...}, ...]}");
  command->callback([flags] { generate_texts(*flags); });
}

}  // namespace shira::tools
