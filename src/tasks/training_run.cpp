// Configuration in, parts out.
#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/io/atomic_file.h>
#include <shira/io/checksum.h>
#include <shira/io/hub_cache.h>
#include <shira/methods/full_training.h>
#include <shira/methods/hooked_shira.h>
#include <shira/methods/packed_shira.h>
#include <shira/methods/targets.h>
#include <shira/models/load_llama.h>
#include <shira/nn/parameters.h>
#include <shira/sparse/adapter_switcher.h>
#include <shira/sparse/base_checkpoint.h>
#include <shira/sparse/mask_builders.h>
#include <shira/sparse/mask_file.h>
#include <shira/sparse/peft_adapter.h>
#include <shira/tasks/causal_lm.h>
#include <shira/tasks/generation.h>
#include <shira/tasks/training_run.h>
#include <shira/train/calibration.h>

#include <algorithm>
#include <set>

namespace shira {
namespace {

/// Struct masks have whole rows: on small tensors that may be far more than was asked for.
constexpr double kFarBeyondBudget = 1.25;

MaskBudget budget_of(const RunConfig& config) { return {config.shira_density, config.shira_r}; }

std::vector<LinearTarget> run_targets(const RunConfig& config, const Llama& model) {
  const auto shared =
      config.shira_training == "hooks" ? SharedWeights::kAllowed : SharedWeights::kRefused;
  return select_targets(*model, config.target_modules, shared);
}

/// ConfigError for a mask of something that is no target.
MaskMap file_masks(const RunConfig& config, const std::vector<LinearTarget>& targets) {
  MaskMap masks = load_masks(config.shira_mask);
  std::set<std::string> names;
  for (const LinearTarget& target : targets) names.insert(target.parameter_name());
  for (const auto& [name, mask] : masks) {
    SHIRA_CHECK(ConfigError, names.contains(name), "shira_mask ", config.shira_mask, ": ", name,
                " is not among the target_modules. Add it there, or leave its mask out.");
  }
  return masks;
}

MaskBuilder mask_builder(const RunConfig& config, const std::vector<LinearTarget>& targets) {
  const MaskBudget budget = budget_of(config);
  if (is_mask_file(config.shira_mask)) return given_mask(file_masks(config, targets));
  if (config.shira_mask == "rand") {
    return rand_mask(budget, static_cast<std::uint64_t>(config.shira_seed));
  }
  if (config.shira_mask == "wm") return wm_mask(budget, config.shira_wm_band);
  if (config.shira_mask == "struct") {
    const auto axis = config.shira_struct_axis == "row" ? StructAxis::kRow : StructAxis::kColumn;
    return struct_mask(budget, axis, config.shira_struct_offset);
  }
  throw ConfigError("shira_mask: unknown mask '" + config.shira_mask +
                    "'. Known: struct, rand, wm, grad, snip, or a file.");
}

/// A shared weight is refused: its layer sees a part of its gradient only.
MaskMap calibrated_masks(const RunConfig& config, const Llama& model, DataLoader& data) {
  const auto targets = select_targets(*model, config.target_modules);
  CausalLmObjective objective(model);
  CalibrationOptions options;
  options.score = config.shira_mask == "grad" ? CalibrationScore::kGrad : CalibrationScore::kSnip;
  options.batches = config.shira_calibration_batches;
  options.memory_bytes = config.shira_calibration_memory * 1073741824.0;
  return calibrate_masks(targets, objective, data, budget_of(config), options);
}

void warn_beyond_budget(const MaskMap& masks, const MaskBudget& budget) {
  std::int64_t asked = 0, got = 0;
  for (const auto& [name, mask] : masks) {
    asked += mask_nnz(budget, mask.shape());
    got += mask.nnz();
  }
  if (static_cast<double>(got) <= kFarBeyondBudget * static_cast<double>(asked)) return;
  log_warning(detail::concat("struct masks train ", got, " entries where the budget asks for ",
                             asked,
                             ": the diagonals and one row of each tensor are more alone. "
                             "Raise shira_density or shira_r, or take another mask."));
}

/// The adapter in `directory`, after it was found to fit `model`.
SparseAdapter fitting_adapter(const Llama& model, const std::filesystem::path& directory) {
  SparseAdapter adapter = load_adapter(directory);
  SHIRA_CHECK(ConfigError, adapter.kind == ValueKind::kWeights, directory.string(),
              ": holds differences to a base; only an adapter of new weights can be trained on.");
  AdapterSwitcher(*model).resolve({{adapter}});
  return adapter;
}

MaskMap masks_of(const SparseAdapter& adapter) {
  MaskMap masks;
  for (const auto& [name, tensor] : adapter.tensors) masks.emplace(name, tensor.mask);
  return masks;
}

/// The targets that the masks are for; ConfigError when there is a mask for no target.
std::vector<LinearTarget> masked_targets(std::vector<LinearTarget> targets, const MaskMap& masks) {
  std::erase_if(targets,
                [&](const LinearTarget& t) { return !masks.contains(t.parameter_name()); });
  SHIRA_CHECK(ConfigError, targets.size() == masks.size(),
              "target_modules: ", masks.size() - targets.size(), " of the ", masks.size(),
              " tensors that the adapter trains are not among the targets. Use those of the run "
              "that made it.");
  return targets;
}

std::unique_ptr<SparseTraining> make_sparse_training(const RunConfig& config, const Llama& model,
                                                     const MaskMap& masks) {
  auto targets = masked_targets(run_targets(config, model), masks);
  if (config.shira_training == "hooks") return std::make_unique<HookedShira>(*model, masks);
  return std::make_unique<PackedShira>(std::move(targets), masks);
}

/// Where the entries came from, in a word.
std::string mask_type_of(const RunConfig& config, const std::optional<SparseAdapter>& start) {
  if (start) return start->mask_type;
  return is_mask_file(config.shira_mask) ? "file" : config.shira_mask;
}

/// Whether PEFT's layout is wanted; ConfigError before anything is trained that it cannot hold, or
/// that the base's files do not have (a tied head).
bool exports_to_peft(const RunConfig& config, const MaskMap& masks) {
  if (std::ranges::count(config.export_formats, "peft") == 0) return false;
  try {
    check_peft_can_hold(masks);
  } catch (const ShapeError& error) {
    throw ConfigError(detail::concat("export_formats: peft: ", error.what()));
  }
  const auto base = map_checkpoint(resolve_base_model(config.base_model));
  for (const auto& [name, mask] : masks) {
    SHIRA_CHECK(ConfigError, base.contains(name), "export_formats: peft: ", name,
                " is not among the tensors of ", config.base_model, ". Leave it out.");
  }
  return true;
}

void save_peft_directory(const std::filesystem::path& directory, const SparseAdapter& adapter) {
  const auto base = map_checkpoint(resolve_base_model(adapter.base_model));
  write_directory(directory, [&](const std::filesystem::path& temporary) {
    save_peft_adapter(temporary, adapter, base, "CAUSAL_LM");
  });
}

RunMethod make_shira(const RunConfig& config, const Llama& model, DataLoader& train_data,
                     const std::optional<std::filesystem::path>& resume_from) {
  std::optional<SparseAdapter> start;
  if (resume_from) {
    start = fitting_adapter(model, *resume_from);
  } else if (!config.adapter_dir.empty()) {
    start = fitting_adapter(model, config.adapter_dir);
  }
  const MaskMap masks = start ? masks_of(*start) : make_masks(config, model, &train_data);
  auto shira = make_sparse_training(config, model, masks);
  if (start) shira->start_from(*start);
  const auto save =
      [shira = shira.get(), base = config.base_model, to_peft = exports_to_peft(config, masks),
       mask_type = mask_type_of(config, start)](const std::filesystem::path& directory) {
        SparseAdapter adapter = shira->extract();
        adapter.base_model = base;
        adapter.mask_type = mask_type;
        save_adapter(directory, adapter);
        if (to_peft) save_peft_directory(directory / "peft", adapter);
      };
  std::int64_t trained = 0;
  for (const auto& [name, mask] : masks) trained += mask.nnz();
  return {std::move(shira), save, trained, 0, {}};
}

std::string fingerprint(const std::vector<NamedTensor>& tensors) {
  std::vector<std::uint64_t> hashes;
  for (const auto& [name, tensor] : tensors) {
    hashes.push_back(base_checksum(tensor, tensor.scalar_type()));
  }
  return std::to_string(xxh3_64(hashes.data(), hashes.size() * sizeof(std::uint64_t)));
}

RunMethod make_full_training(const RunConfig& config, const Llama& model) {
  auto dtype = parse_base_dtype(config.base_dtype);
  const auto base = resolve_base_model(config.base_model);
  if (!dtype) dtype = checkpoint_dtype(base);
  const auto save = [model, base, dtype](const std::filesystem::path& directory) {
    save_llama(directory, model, base, dtype);
  };
  auto method = std::make_unique<FullTraining>(*model);
  std::map<std::string, std::string> identity = {
      {"weights of base_model", fingerprint(method->parameters())}};
  return {std::move(method), save, 0, 0, std::move(identity)};
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

/// What chooses the trained entries; those without effect hold their defaults.
std::map<std::string, std::string> method_identity(const RunConfig& config) {
  std::map<std::string, std::string> identity = {
      {"adapter", config.adapter},
      {"base_dtype", config.base_dtype},
      {"optimizer", config.optimizer},
      {"seed", std::to_string(config.seed)},
      {"micro_batch_size", std::to_string(config.micro_batch_size)}};
  if (config.adapter == "full") return identity;
  identity["adapter_dir"] = config.adapter_dir;
  identity["target_modules"] = joined(config.target_modules);
  identity["shira_training"] = config.shira_training;
  identity["shira_mask"] = config.shira_mask;
  identity["shira_seed"] = std::to_string(config.shira_seed);
  identity["shira_wm_band"] = std::to_string(config.shira_wm_band);
  identity["shira_struct_axis"] = config.shira_struct_axis;
  identity["shira_struct_offset"] = std::to_string(config.shira_struct_offset);
  identity["shira_calibration_batches"] = std::to_string(config.shira_calibration_batches);
  if (config.shira_density) identity["shira_density"] = detail::concat(*config.shira_density);
  if (config.shira_r) identity["shira_r"] = std::to_string(*config.shira_r);
  return identity;
}

std::map<std::string, std::string> optimizer_surroundings(const RunConfig& config) {
  return {{"weight_decay", detail::concat(config.weight_decay)},
          {"adam_beta1", detail::concat(config.adam_beta1)},
          {"adam_beta2", detail::concat(config.adam_beta2)},
          {"adam_epsilon", detail::concat(config.adam_epsilon)}};
}

std::int64_t count_entries(const std::vector<NamedTensor>& tensors) {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : tensors) count += tensor.numel();
  return count;
}

}  // namespace

std::optional<torch::ScalarType> parse_base_dtype(const std::string& name) {
  if (name == "auto") return std::nullopt;
  if (name == "float32") return torch::kFloat32;
  if (name == "bfloat16") return torch::kBFloat16;
  if (name == "float16") return torch::kFloat16;
  throw ConfigError("base_dtype '" + name + "' is not one of auto, float32, bfloat16, float16.");
}

Llama load_base(const RunConfig& config) {
  LoadOptions options{.dtype = parse_base_dtype(config.base_dtype), .writable = {}};
  const bool is_full = config.adapter == "full";
  if (is_full) options.dtype = torch::kFloat32;
  // Hooks may mask a tied head, which is the embedding.
  if (is_full || config.shira_training == "hooks") {
    options.writable = [](const std::string&) { return true; };
  }
  Llama model = load_llama(resolve_base_model(config.base_model), options);
  model->gradient_checkpointing = config.gradient_checkpointing;
  return model;
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

bool needs_calibration(const RunConfig& config) {
  return config.adapter == "shira" && config.adapter_dir.empty() &&
         (config.shira_mask == "grad" || config.shira_mask == "snip");
}

MaskMap make_masks(const RunConfig& config, const Llama& model, DataLoader* train_data) {
  if (!config.adapter_dir.empty()) return masks_of(load_adapter(config.adapter_dir));
  if (needs_calibration(config)) return calibrated_masks(config, model, *train_data);
  const auto targets = run_targets(config, model);
  // In the dtype of the run, one tensor at a time: `shira mask` leaves the model as it is stored.
  const auto dtype = parse_base_dtype(config.base_dtype);
  const MaskBuilder builder = mask_builder(config, targets);
  MaskMap masks = build_masks(target_weights(targets), [&](const auto& name, const auto& weight) {
    return builder(name, dtype ? weight.to(*dtype) : weight);
  });
  if (config.shira_mask == "struct") warn_beyond_budget(masks, budget_of(config));
  return masks;
}

RunMethod make_method(const RunConfig& config, const Llama& model, DataLoader& train_data,
                      const std::optional<std::filesystem::path>& resume_from) {
  RunMethod made = config.adapter == "full" ? make_full_training(config, model)
                                            : make_shira(config, model, train_data, resume_from);
  made.trained = made.trained > 0 ? made.trained : count_entries(made.method->parameters());
  made.total = count_entries(nn::unique_parameters(*model));
  made.identity.merge(method_identity(config));
  return made;
}

std::unique_ptr<Optimizer> make_optimizer(const RunConfig& config, const TrainingMethod& method) {
  const OptimizerOptions options{config.weight_decay, config.adam_beta1, config.adam_beta2,
                                 config.adam_epsilon};
  return config.optimizer == "sgd" ? make_sgd(method.parameters(), options)
                                   : make_adamw(method.parameters(), options);
}

std::function<std::vector<SampleText>()> make_sample_texts(const RunConfig& config,
                                                           const Llama& model,
                                                           const Tokenizer& tokenizer) {
  if (config.sample_prompts.empty()) return nullptr;
  return [prompts = config.sample_prompts, model = model, &tokenizer]() mutable {
    const auto texts = generate_batch(model, tokenizer, prompts, {.max_new_tokens = 64});
    std::vector<SampleText> samples;
    for (std::size_t i = 0; i < texts.size(); ++i) samples.push_back({prompts[i], texts[i].text});
    return samples;
  };
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
          .output_dir = config.output_dir,
          .identity = method.identity,
          .surroundings = optimizer_surroundings(config),
          .resume_from = std::move(resume_from)};
}

}  // namespace shira
