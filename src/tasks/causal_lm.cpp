// Configuration in, parts out: the pieces themselves know no RunConfig.
#include <shira/base/error.h>
#include <shira/methods/full_training.h>
#include <shira/methods/packed_shira.h>
#include <shira/methods/targets.h>
#include <shira/models/load_llama.h>
#include <shira/nn/parameters.h>
#include <shira/sparse/adapter_switcher.h>
#include <shira/sparse/mask_builders.h>
#include <shira/tasks/causal_lm.h>

#include <ATen/Functions.h>

#include <filesystem>
#include <map>

namespace shira {
namespace {

MaskBuilder mask_builder(const RunConfig& config) {
  const MaskBudget budget{config.shira_density, config.shira_r};
  if (config.shira_mask == "rand") {
    return rand_mask(budget, static_cast<std::uint64_t>(config.shira_seed));
  }
  if (config.shira_mask == "wm") return wm_mask(budget, config.shira_wm_band);
  throw ConfigError("shira_mask: unknown mask '" + config.shira_mask + "'. Known: rand, wm.");
}

/// The masks of a checkpoint, after its adapter was found to fit `model`.
MaskMap checkpoint_masks(const Llama& model, const std::filesystem::path& checkpoint) {
  const SparseAdapter adapter = load_adapter(checkpoint);
  AdapterSwitcher(*model).resolve({{adapter}});
  MaskMap masks;
  for (const auto& [name, tensor] : adapter.tensors) masks.emplace(name, tensor.mask);
  return masks;
}

CausalLmMethod make_packed_shira(const RunConfig& config, const Llama& model,
                                 const std::optional<std::filesystem::path>& resume_from) {
  auto targets = select_targets(*model, config.target_modules);
  const MaskMap masks = resume_from ? checkpoint_masks(model, *resume_from)
                                    : build_masks(target_weights(targets), mask_builder(config));
  auto shira = std::make_unique<PackedShira>(std::move(targets), masks);
  const auto save = [shira = shira.get(), config](const std::filesystem::path& directory) {
    SparseAdapter adapter = shira->extract();
    adapter.base_model = config.base_model;
    adapter.mask_type = config.shira_mask;
    save_adapter(directory, adapter);
  };
  return {std::move(shira), save};
}

CausalLmMethod make_full_training(const RunConfig& config, const Llama& model) {
  const auto dtype =
      parse_base_dtype(config.base_dtype).value_or(checkpoint_dtype(config.base_model));
  const auto save = [model, config, dtype](const std::filesystem::path& directory) {
    save_llama(directory, model, config.base_model, dtype);
  };
  return {std::make_unique<FullTraining>(*model), save};
}

/// What a resumed run must share with the one before: the same entries, batches and state.
std::map<std::string, std::string> method_identity(const RunConfig& config) {
  std::map<std::string, std::string> identity = {
      {"adapter", config.adapter},
      {"base_dtype", config.base_dtype},
      {"optimizer", config.optimizer},
      {"seed", std::to_string(config.seed)},
      {"micro_batch_size", std::to_string(config.micro_batch_size)}};
  if (config.adapter == "full") return identity;
  identity["shira_mask"] = config.shira_mask;
  identity["shira_seed"] = std::to_string(config.shira_seed);
  identity["shira_wm_band"] = std::to_string(config.shira_wm_band);
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

void check_tokenizer(const Llama& model, const Tokenizer& tokenizer) {
  SHIRA_CHECK(Error, tokenizer.vocab_size() <= model->config.vocab_size, "the tokenizer has ",
              tokenizer.vocab_size(), " pieces, the model a vocabulary of ",
              model->config.vocab_size, ": they do not belong together.");
}

torch::Tensor next_token_loss_sum(const torch::Tensor& logits, const torch::Tensor& labels) {
  const std::int64_t predictions = labels.size(1) - 1;
  const auto wide = at::promote_types(logits.scalar_type(), torch::kFloat32);
  const torch::Tensor flat = logits.narrow(1, 0, predictions).to(wide).flatten(0, 1);
  return at::cross_entropy_loss(flat, labels.narrow(1, 1, predictions).flatten(),
                                /*weight=*/{}, at::Reduction::Sum, kIgnoreLabel);
}

torch::Tensor CausalLmObjective::loss_sum(const Batch& batch) {
  const torch::Tensor hidden = model_->hidden(batch.at("input_ids"));
  return next_token_loss_sum(model_->logits(hidden), batch.at("labels"));
}

std::int64_t CausalLmObjective::term_count(const Batch& batch) const {
  const torch::Tensor& labels = batch.at("labels");
  return (labels.narrow(1, 1, labels.size(1) - 1) != kIgnoreLabel).sum().item<std::int64_t>();
}

std::int64_t CausalLmObjective::item_count(const Batch& batch) const {
  return batch.at("attention_mask").sum().item<std::int64_t>();
}

std::optional<torch::ScalarType> parse_base_dtype(const std::string& name) {
  if (name == "auto") return std::nullopt;
  if (name == "float32") return torch::kFloat32;
  if (name == "bfloat16") return torch::kBFloat16;
  if (name == "float16") return torch::kFloat16;
  throw ConfigError("base_dtype '" + name + "' is not one of auto, float32, bfloat16, float16.");
}

Llama load_base(const RunConfig& config) {
  LoadOptions options{.dtype = parse_base_dtype(config.base_dtype), .writable = {}};
  if (config.adapter == "full") {
    options.dtype = torch::kFloat32;
    options.writable = [](const std::string&) { return true; };
  }
  return load_llama(config.base_model, options);
}

CausalLmMethod make_method(const RunConfig& config, const Llama& model,
                           const std::optional<std::filesystem::path>& resume_from) {
  CausalLmMethod made = config.adapter == "full" ? make_full_training(config, model)
                                                 : make_packed_shira(config, model, resume_from);
  made.trained = count_entries(made.method->parameters());
  made.total = count_entries(nn::unique_parameters(*model));
  return made;
}

std::unique_ptr<Optimizer> make_optimizer(const RunConfig& config, const TrainingMethod& method) {
  const OptimizerOptions options{config.weight_decay, config.adam_beta1, config.adam_beta2,
                                 config.adam_epsilon};
  return config.optimizer == "sgd" ? make_sgd(method.parameters(), options)
                                   : make_adamw(method.parameters(), options);
}

TrainerOptions trainer_options(const RunConfig& config, bool resume) {
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
          .output_dir = config.output_dir,
          .identity = method_identity(config),
          .surroundings = optimizer_surroundings(config),
          .resume = resume};
}

DatasetSplit load_datasets(const RunConfig& config, const Tokenizer& tokenizer) {
  const DatasetOptions options{config.sequence_len, config.train_on_inputs, config.chat_template};
  std::vector<SampleSet> sets;
  for (const DatasetConfig& dataset : config.datasets) {
    sets.push_back({load_dataset(dataset.type, dataset.path, tokenizer, options), dataset.weight});
  }
  return split_datasets(std::move(sets), config.val_set_size,
                        static_cast<std::uint64_t>(config.seed));
}

}  // namespace shira
