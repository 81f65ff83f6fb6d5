// shira train CONFIG.yaml: a run, call by call.
#include "commands.h"
#include "run_report.h"

#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/config/config_parser.h>
#include <shira/io/atomic_file.h>
#include <shira/io/diffusers_lora_file.h>
#include <shira/io/directory_lock.h>
#include <shira/io/hub_cache.h>
#include <shira/tasks/causal_lm.h>
#include <shira/tasks/diffusion_run.h>
#include <shira/tasks/training_run.h>
#include <shira/train/checkpoint.h>

#include <ATen/Parallel.h>

#include <optional>

namespace shira::tools {
namespace {

struct TrainFlags {
  std::string config;
  std::vector<std::string> overrides;
  bool resume = false;
  bool dry_run = false;
  bool json = false;
};

/// A run never writes over another one's results.
void check_output_dir(const std::filesystem::path& output_dir, bool resume) {
  check_output_directory("output_dir", output_dir);
  if (resume) return;
  bool holds_run = latest_checkpoint(output_dir).has_value();
  for (const char* name : {"adapter_model.safetensors", "pytorch_lora_weights.safetensors",
                           "model.safetensors", "model_index.json"}) {
    holds_run = holds_run || std::filesystem::exists(output_dir / name);
  }
  SHIRA_CHECK(ConfigError, !holds_run, "output_dir ", output_dir.string(),
              " already holds a run. Continue it with --resume, or give another output_dir.");
}

/// The checkpoint to go on from: the run's own newest one when it is resumed, else the one that the
/// configuration branches off from.
std::optional<std::filesystem::path> resume_checkpoint(const RunConfig& config, bool resume) {
  const auto newest = resume ? latest_checkpoint(config.output_dir) : std::nullopt;
  if (newest || config.resume_from_checkpoint.empty()) return newest;
  const std::filesystem::path checkpoint = config.resume_from_checkpoint;
  SHIRA_CHECK(ConfigError, std::filesystem::exists(checkpoint / "trainer_state.json"),
              "resume_from_checkpoint ", checkpoint.string(),
              ": no checkpoint. Give a checkpoint-<step> directory of a run.");
  return checkpoint;
}

/// Trains to the end and says how it went.
int run(const RunConfig& config, const RunMethod& method, TrainerParts parts,
        const std::optional<std::filesystem::path>& resume_from, bool json) {
  Trainer trainer(std::move(parts), trainer_options(config, method, resume_from));
  trainer.start();
  write_file(std::filesystem::path(config.output_dir) / "config.yaml", to_yaml(config));
  const TrainResult result = trainer.run();
  json ? print_summary_json(config, method, result) : print_summary(config, method, result);
  return result.stop_signal == 0 ? 0 : 128 + result.stop_signal;
}

int train_language_model(const RunConfig& config,
                         const std::optional<std::filesystem::path>& resume_from, bool json) {
  Llama model = load_base(config);
  const Tokenizer tokenizer(resolve_base_model(config.base_model));
  check_tokenizer(model, tokenizer);
  DatasetSplit data = load_datasets(config, tokenizer);
  DataLoader train_data = make_train_loader(config, std::move(data.train));
  const auto validation = make_validation_loader(config, std::move(data.validation));
  CausalLmObjective objective(model);
  const RunMethod method =
      make_method(config, {*model, {objective, train_data}, base_saver(config, model), "CAUSAL_LM"},
                  resume_from);
  const auto optimizer = make_optimizer(config, *method.method);
  return run(config, method,
             {*method.method, objective, *optimizer, train_data, validation.get(),
              method.save_result, make_sample_texts(config, model, tokenizer)},
             resume_from, json);
}

int train_pipeline(const RunConfig& config, const std::optional<std::filesystem::path>& resume_from,
                   bool json) {
  DiffusionPipeline pipeline = load_base_pipeline(config);
  make_class_images(config, pipeline);
  ImageSplit pictures = load_pictures(config);
  DiffusionData train_data = make_train_data(config, pipeline, std::move(pictures.train));
  const auto validation = make_validation_data(config, pipeline, std::move(pictures.validation));
  DiffusionObjective objective(pipeline, objective_options(config, pipeline));
  const auto trained = trained_parts(config, pipeline);
  const RunMethod method =
      make_method(config, {*trained, {objective, train_data}, pipeline_saver(config, pipeline), ""},
                  resume_from);
  const auto optimizer = make_optimizer(config, *method.method);
  return run(config, method,
             {*method.method, objective, *optimizer, train_data, validation.get(),
              method.save_result, make_sample_pictures(config, pipeline)},
             resume_from, json);
}

int train(const TrainFlags& flags) {
  const RunConfig config = load_config(flags.config, flags.overrides);
  if (config.num_threads > 0) at::set_num_threads(static_cast<int>(config.num_threads));
  if (flags.dry_run) {
    print_dry_run(config, flags.json);
    return 0;
  }
  check_output_dir(config.output_dir, flags.resume);
  const auto resume_from = resume_checkpoint(config, flags.resume);
  return is_text_to_image(config) ? train_pipeline(config, resume_from, flags.json)
                                  : train_language_model(config, resume_from, flags.json);
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
  command->add_flag("--dry_run", flags->dry_run,
                    "Print targets, counts, a memory estimate and the first batch; train nothing");
  command->add_flag("--json", flags->json, "Print the result as one JSON object");
  command->callback([flags, &exit_code] { exit_code = train(*flags); });
}

}  // namespace shira::tools
