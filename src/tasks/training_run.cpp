// Configuration in, parts out.
#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/io/hub_cache.h>
#include <shira/models/load_llama.h>
#include <shira/tasks/generation.h>
#include <shira/tasks/training_run.h>

#include <torch/cuda.h>

namespace shira {
namespace {

std::map<std::string, std::string> optimizer_surroundings(const RunConfig& config) {
  return {{"weight_decay", detail::concat(config.weight_decay)},
          {"adam_beta1", detail::concat(config.adam_beta1)},
          {"adam_beta2", detail::concat(config.adam_beta2)},
          {"adam_epsilon", detail::concat(config.adam_epsilon)}};
}

}  // namespace

std::optional<torch::ScalarType> parse_base_dtype(const std::string& name) {
  if (name == "auto") return std::nullopt;
  if (name == "float32") return torch::kFloat32;
  if (name == "bfloat16") return torch::kBFloat16;
  if (name == "float16") return torch::kFloat16;
  throw ConfigError("base_dtype '" + name + "' is not one of auto, float32, bfloat16, float16.");
}

void check_device(const RunConfig& config) {
  SHIRA_CHECK(ConfigError, config.device == "cpu" || torch::cuda::is_available(),
              "device: cuda: there is no CUDA device, or this LibTorch is for the CPU alone.");
}

Llama load_base(const RunConfig& config) {
  check_device(config);
  LoadOptions options{.dtype = parse_base_dtype(config.base_dtype), .writable = {}};
  const bool is_full = config.adapter == "full";
  if (is_full) options.dtype = torch::kFloat32;
  if (config.adapter == "lora" || config.adapter == "dora") {
    options.writable = [](const std::string&) { return false; };
  }
  // Hooks may mask a tied head, which is the embedding.
  if (is_full || config.shira_training == "hooks") {
    options.writable = [](const std::string&) { return true; };
  }
  Llama model = load_llama(resolve_base_model(config.base_model), options);
  if (config.device != "cpu") model->to(torch::Device(config.device));
  model->gradient_checkpointing = config.gradient_checkpointing;
  return model;
}

SaveInto base_saver(const RunConfig& config, const Llama& model) {
  const auto base = resolve_base_model(config.base_model);
  const auto dtype = parse_base_dtype(config.base_dtype);
  return [model, base, dtype](const std::filesystem::path& directory) {
    save_llama(directory, model, base, dtype ? *dtype : checkpoint_dtype(base));
  };
}

DatasetSplit load_datasets(const RunConfig& config, const Tokenizer& tokenizer) {
  const DatasetOptions options{config.sequence_len, config.train_on_inputs, config.chat_template};
  std::vector<SampleSet> sets;
  for (const DatasetConfig& dataset : config.datasets) {
    const auto ending = std::filesystem::path(dataset.path).extension();
    if (dataset.type == "text" && (ending == ".json" || ending == ".jsonl")) {
      log_warning(dataset.path +
                  ": read as plain text. Its records want a type: completion, "
                  "alpaca, messages or sharegpt.");
    }
    sets.push_back({load_dataset(dataset.type, dataset.path, tokenizer, options), dataset.weight});
  }
  return split_datasets(std::move(sets), config.val_set_size,
                        static_cast<std::uint64_t>(config.seed));
}

DataLoader make_train_loader(const RunConfig& config, std::vector<SampleSet> train) {
  return {std::move(train),
          {.batch_size = config.micro_batch_size,
           .shuffle_seed = static_cast<std::uint64_t>(config.seed),
           .packing_len = config.sample_packing ? config.sequence_len : 0}};
}

std::unique_ptr<DataLoader> make_validation_loader(const RunConfig& config,
                                                   std::vector<Sample> validation) {
  if (validation.empty()) return nullptr;
  std::vector<SampleSet> sets;
  sets.push_back({std::move(validation)});
  return std::make_unique<DataLoader>(
      std::move(sets),
      LoaderOptions{.batch_size = config.micro_batch_size,
                    .packing_len = config.sample_packing ? config.sequence_len : 0});
}

std::unique_ptr<Optimizer> make_optimizer(const RunConfig& config, const TrainingMethod& method) {
  OptimizerOptions options{config.weight_decay, config.adam_beta1, config.adam_beta2,
                           config.adam_epsilon};
  if (config.text_encoder_lr) {
    options.lr_factors["text_encoder"] = *config.text_encoder_lr / config.learning_rate;
  }
  return config.optimizer == "sgd" ? make_sgd(method.parameters(), options)
                                   : make_adamw(method.parameters(), options);
}

std::function<std::vector<SampleText>(std::int64_t)> make_sample_texts(const RunConfig& config,
                                                                       const Llama& model,
                                                                       const Tokenizer& tokenizer) {
  if (config.sample_prompts.empty()) return nullptr;
  return [prompts = config.sample_prompts, model = model, &tokenizer](std::int64_t) mutable {
    const auto texts = generate_batch(model, tokenizer, prompts, {.max_new_tokens = 64});
    std::vector<SampleText> samples;
    for (std::size_t i = 0; i < texts.size(); ++i) samples.push_back({prompts[i], texts[i].text});
    return samples;
  };
}

LogUnits run_units(const RunConfig& config) {
  if (!is_text_to_image(config)) return {};
  return {.items = "images", .loss = "mean squared error", .has_perplexity = false};
}

TrainerOptions trainer_options(const RunConfig& config, const RunMethod& method,
                               std::optional<std::filesystem::path> resume_from) {
  return {.gradient_accumulation_steps = config.gradient_accumulation_steps,
          .num_epochs = config.num_epochs,
          .max_steps = config.max_steps,
          .lr_scheduler = parse_lr_kind(config.lr_scheduler),
          .learning_rate = config.learning_rate,
          .warmup_steps = config.warmup_steps,
          .warmup_ratio = config.warmup_ratio,
          .max_grad_norm = config.max_grad_norm,
          .logging_steps = config.logging_steps,
          .eval_steps = config.eval_steps,
          .save_steps = config.save_steps,
          .save_total_limit = config.save_total_limit,
          .early_stopping_patience = config.early_stopping_patience,
          .load_best_model_at_end = config.load_best_model_at_end,
          .tensorboard = config.report_to == "tensorboard",
          .units = run_units(config),
          .seed = static_cast<std::uint64_t>(config.seed),
          .output_dir = config.output_dir,
          .identity = method.identity,
          .surroundings = optimizer_surroundings(config),
          .resume_from = std::move(resume_from)};
}

}  // namespace shira
