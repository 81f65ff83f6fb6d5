// shira eval: perplexity of a text.
#include "commands.h"

#include <shira/io/atomic_file.h>
#include <shira/tasks/causal_lm.h>
#include <shira/tasks/evaluation.h>

#include <nlohmann/json.hpp>

#include <iostream>

namespace shira::tools {
namespace {

struct EvalFlags {
  ModelFlags model;
  std::string text;
  std::int64_t window = 512;
  bool json = false;
};

void evaluate_text(const EvalFlags& flags) {
  const std::string text = read_file(flags.text);
  const Tokenizer tokenizer(flags.model.directory());
  AdaptedModel adapted(flags.model);
  check_tokenizer(adapted.model, tokenizer);
  const Perplexity result =
      evaluate_perplexity(adapted.model, tokenizer.encode(text), flags.window);
  if (flags.json) {
    const nlohmann::ordered_json object = {
        {"nll", result.nll}, {"perplexity", result.perplexity}, {"tokens", result.tokens}};
    std::cout << object.dump() << "\n";
  } else {
    std::cout << "nll " << result.nll << ", perplexity " << result.perplexity << ", "
              << result.tokens << " tokens\n";
  }
}

}  // namespace

void add_eval(CLI::App& app, int&) {
  auto flags = std::make_shared<EvalFlags>();
  CLI::App* command = app.add_subcommand("eval", "Perplexity of a text file");
  flags->model.add_to(*command);
  command->add_option("--text", flags->text, "UTF-8 text file")->required();
  command
      ->add_option("--window", flags->window,
                   "Tokens scored together; the last partial window is dropped")
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print {nll, perplexity, tokens}");
  command->callback([flags] { evaluate_text(*flags); });
}

}  // namespace shira::tools
