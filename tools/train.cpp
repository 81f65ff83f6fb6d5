// shira train CONFIG.yaml: a run in nine calls.
#include "commands.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/config/config_parser.h>
#include <shira/io/atomic_file.h>
#include <shira/tasks/causal_lm.h>
#include <shira/train/checkpoint.h>

#include <ATen/Parallel.h>

#include <nlohmann/json.hpp>

#include <iostream>

namespace shira::tools {
namespace {

struct TrainFlags {
  std::string config;
  std::vector<std::string> overrides;
  bool resume = false;
  bool json = false;
};

/// A run never writes over another one's results.
void check_output_dir(const std::filesystem::path& output_dir, bool resume) {
  if (resume) return;
  const bool holds_run = latest_checkpoint(output_dir) ||
                         std::filesystem::exists(output_dir / "adapter_model.safetensors") ||
                         std::filesystem::exists(output_dir / "model.safetensors");
  SHIRA_CHECK(ConfigError, !holds_run, "output_dir ", output_dir.string(),
              " already holds a run. Continue it with --resume, or give another output_dir.");
}

void print_summary(const RunConfig& config, const CausalLmMethod& method,
                   const TrainResult& result) {
  std::cout << (result.stop_signal == 0 ? "trained " : "interrupted after ") << result.step
            << " of " << result.total_steps << " steps in " << result.seconds << " s\n";
  std::cout << "trained parameters: " << method.trained << " of " << method.total << " ("
            << 100.0 * static_cast<double>(method.trained) / static_cast<double>(method.total)
            << " %)\n";
  if (result.first_eval_loss && result.last_eval_loss) {
    std::cout << "held-out loss: " << *result.first_eval_loss << " before, "
              << *result.last_eval_loss << " after\n";
  }
  if (result.stop_signal == 0) {
    std::cout << "saved in " << config.output_dir << "\n";
  } else if (result.step == 0) {
    std::cout << "nothing had been trained yet\n";
  } else {
    std::cout << "state saved in " << config.output_dir << "; go on with --resume\n";
  }
}

void print_json(const RunConfig& config, const CausalLmMethod& method, const TrainResult& result) {
  nlohmann::ordered_json object = {{"step", result.step},
                                   {"total_steps", result.total_steps},
                                   {"interrupted", result.stop_signal != 0},
                                   {"seconds", result.seconds},
                                   {"tokens", result.items},
                                   {"trained_parameters", method.trained},
                                   {"total_parameters", method.total},
                                   {"output_dir", config.output_dir}};
  if (result.first_eval_loss) object["first_eval_loss"] = *result.first_eval_loss;
  if (result.last_eval_loss) object["eval_loss"] = *result.last_eval_loss;
  std::cout << object.dump() << "\n";
}

int train(const TrainFlags& flags) {
  const RunConfig config = load_config(flags.config, flags.overrides);
  check_output_dir(config.output_dir, flags.resume);
  if (config.num_threads > 0) at::set_num_threads(static_cast<int>(config.num_threads));
  const auto resume_from = flags.resume ? latest_checkpoint(config.output_dir) : std::nullopt;

  Llama model = load_base(config);
  const Tokenizer tokenizer(config.base_model);
  check_tokenizer(model, tokenizer);
  DatasetSplit data = load_datasets(config, tokenizer);
  CausalLmMethod method = make_method(config, model, resume_from);
  CausalLmObjective objective(model);
  const auto optimizer = make_optimizer(config, *method.method);
  DataLoader train_data(std::move(data.train),
                        {.batch_size = config.micro_batch_size,
                         .shuffle_seed = static_cast<std::uint64_t>(config.seed),
                         .packing_len = config.sample_packing ? config.sequence_len : 0});
  std::unique_ptr<DataLoader> validation;
  if (!data.validation.empty()) {
    std::vector<SampleSet> sets(1);
    sets.front().samples = std::move(data.validation);
    validation = std::make_unique<DataLoader>(std::move(sets),
                                              LoaderOptions{.batch_size = config.micro_batch_size});
  }
  Trainer trainer(
      {*method.method, objective, *optimizer, train_data, validation.get(), method.save_result},
      trainer_options(config, flags.resume));
  trainer.start();
  write_file(std::filesystem::path(config.output_dir) / "config.yaml", to_yaml(config));
  const TrainResult result = trainer.run();

  flags.json ? print_json(config, method, result) : print_summary(config, method, result);
  return result.stop_signal == 0 ? 0 : 128 + result.stop_signal;
}

}  // namespace

void add_train(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* command = app.add_subcommand("train", "Train as a YAML configuration says");
  command
      ->add_option("config", flags->config, "Configuration file (shira config validate checks one)")
      ->required();
  command
      ->add_option("--set", flags->overrides,
                   "Override a key: --set learning_rate=1e-3; may be repeated")
      ->allow_extra_args(false);
  command->add_flag("--resume", flags->resume,
                    "Continue from the newest complete checkpoint of output_dir, or start");
  command->add_flag("--json", flags->json, "Print the result as one JSON object");
  command->callback([flags, &exit_code] { exit_code = train(*flags); });
}

}  // namespace shira::tools
