// shira generate: text from a model with adapters applied.
#include "commands.h"

#include <shira/tasks/generation.h>

#include <nlohmann/json.hpp>

#include <iostream>

namespace shira::tools {
namespace {

struct GenerateFlags {
  ModelFlags model;
  std::string prompt;
  GenerateOptions options;
  bool json = false;
};

void generate_text(GenerateFlags flags) {
  AdaptedModel adapted(flags.model);
  const Tokenizer tokenizer(flags.model.base_model);
  if (!flags.json) {
    flags.options.on_text = [](std::string_view text) { std::cout << text << std::flush; };
  }
  const Generated generated = generate(adapted.model, tokenizer, flags.prompt, flags.options);
  if (!flags.json) {
    std::cout << std::endl;
    return;
  }
  const nlohmann::ordered_json object = {{"text", generated.text},
                                         {"ids", generated.ids},
                                         {"finish_reason", generated.finish_reason},
                                         {"prompt_tokens", generated.prompt_tokens}};
  std::cout << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

}  // namespace

void add_generate(CLI::App& app, int&) {
  auto flags = std::make_shared<GenerateFlags>();
  GenerateOptions& options = flags->options;
  CLI::App* command = app.add_subcommand("generate", "Generate text; it is streamed as it comes");
  flags->model.add_to(*command);
  command->add_option("--prompt", flags->prompt, "The text to continue")->required();
  command->add_option("--max_new_tokens", options.max_new_tokens, "Length limit")
      ->capture_default_str();
  command->add_option("--temperature", options.temperature, "0 is greedy")->capture_default_str();
  command->add_option("--top_k", options.top_k, "Sample among the k most likely tokens; 0 is off")
      ->capture_default_str();
  command
      ->add_option("--top_p", options.top_p,
                   "Sample among the most likely tokens that reach this probability")
      ->capture_default_str();
  command->add_option("--seed", options.seed, "Of the sampling")->capture_default_str();
  command->add_option("--stop", options.stop, "End before this text; may be repeated")
      ->allow_extra_args(false);
  command->add_flag("--json", flags->json, "Print {text, ids, finish_reason, prompt_tokens}");
  command->callback([flags] { generate_text(*flags); });
}

}  // namespace shira::tools
