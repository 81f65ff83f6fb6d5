// The rows of the key table; their order and comments follow run_config.h.
#include "config_keys.h"

namespace shira::detail {
namespace {

using Run = RunConfig;

KeyGroup model_keys() {
  return {
      "Model and adapter",
      {{.name = "base_model",
        .field = &Run::base_model,
        .about = "a HuggingFace checkpoint directory, or org/name in its local cache",
        .required = true},
       {.name = "base_dtype",
        .field = &Run::base_dtype,
        .allowed = {.choices = {"auto", "float32", "bfloat16", "float16"}},
        .about = "of the weights in memory; auto = the checkpoint's"},
       {.name = "bf16", .field = Bf16Alias{}, .about = "true = base_dtype: bfloat16"},
       {.name = "adapter",
        .field = &Run::adapter,
        .allowed = {.choices = {"shira", "lora", "dora", "wm_dora", "full"}},
        .about = "shira trains entries of the targets, lora and dora factors beside them, wm_dora "
                 "both, full every weight"},
       {.name = "adapter_dir",
        .field = &Run::adapter_dir,
        .about = "go on from this adapter: its entries and values, or its factors"},
       {.name = "target_modules",
        .field = &Run::target_modules,
        .allowed = {.choices = {"all-linear"}},
        .about = "suffixes of module names, or all-linear (without lm_head)"},
       {.name = "shira_mask",
        .field = &Run::shira_mask,
        .allowed = {.choices = {"struct", "rand", "wm", "grad", "snip"}, .or_file = true},
        .about = "which entries are trained, or a file that `shira mask -o` wrote"},
       {.name = "shira_density",
        .field = &Run::shira_density,
        .allowed = {.above = 0, .at_most = 1},
        .about = "trained share of each tensor; 0.01 unless shira_r is given"},
       {.name = "shira_r",
        .field = &Run::shira_r,
        .allowed = {.at_least = 1, .at_most = 1e6},
        .about = "instead of the share: r * (out + in) entries a tensor"},
       {.name = "shira_seed",
        .field = &Run::shira_seed,
        .allowed = {.at_least = 0},
        .about = "of the rand mask"},
       {.name = "shira_wm_band",
        .field = &Run::shira_wm_band,
        .allowed = {.at_least = 0},
        .about = "the k-th band of entries in order of magnitude"},
       {.name = "shira_struct_axis",
        .field = &Run::shira_struct_axis,
        .allowed = {.choices = {"row", "column"}},
        .about = "what the struct mask trains whole"},
       {.name = "shira_struct_offset",
        .field = &Run::shira_struct_offset,
        .allowed = {.at_least = 0},
        .about = "shifts the struct mask's rows: two adapters can share none"},
       {.name = "shira_calibration_batches",
        .field = &Run::shira_calibration_batches,
        .allowed = {.at_least = 1, .at_most = 1e6},
        .about = "micro-batches whose gradients grad and snip add up"},
       {.name = "shira_calibration_memory",
        .field = &Run::shira_calibration_memory,
        .allowed = {.above = 0},
        .about = "GiB for their scores; what does not fit takes another pass"},
       {.name = "shira_training",
        .field = &Run::shira_training,
        .allowed = {.choices = {"packed", "hooks"}},
        .about = "hooks: dense gradients under masks, the readable reference"}}};
}

KeyGroup factor_keys() {
  return {"LoRA and DoRA",
          {{.name = "lora_r",
            .field = &Run::lora_r,
            .allowed = {.at_least = 1, .at_most = 16384},
            .about = "rank of the factors of lora, dora and wm_dora"},
           {.name = "lora_alpha",
            .field = &Run::lora_alpha,
            .allowed = {.above = 0},
            .about = "their product is scaled by lora_alpha / lora_r"},
           {.name = "lora_dropout",
            .field = &Run::lora_dropout,
            .allowed = {.at_least = 0, .below = 1},
            .about = "share of the factors' inputs that is zero in a training step"},
           {.name = "use_rslora",
            .field = &Run::use_rslora,
            .about = "scale by lora_alpha / sqrt(lora_r)"}}};
}

KeyGroup data_keys() {
  return {"Data",
          {{.name = "datasets",
            .field = &Run::datasets,
            .about = "files of text or records to train on",
            .required = true},
           {.name = "sequence_len",
            .field = &Run::sequence_len,
            .allowed = {.at_least = 2},
            .about = "tokens of a sample at most"},
           {.name = "sample_packing",
            .field = &Run::sample_packing,
            .about = "several samples in one sequence, blind to each other"},
           {.name = "chat_template",
            .field = &Run::chat_template,
            .allowed = {.choices = {"llama-2", "llama-3", "chatml", "qwen", "mistral"}},
            .about = "of messages and sharegpt data"},
           {.name = "train_on_inputs",
            .field = &Run::train_on_inputs,
            .about = "prompt tokens carry loss too"},
           {.name = "val_set_size",
            .field = &Run::val_set_size,
            .allowed = {.at_least = 0, .whole_from_one = true},
            .about = "below 1: a share of the samples; 1 and above: a count"}}};
}

KeyGroup optimisation_keys() {
  return {
      "Optimisation",
      {{.name = "micro_batch_size",
        .field = &Run::micro_batch_size,
        .allowed = {.at_least = 1, .at_most = 1e6},
        .about = "sequences of a forward pass"},
       {.name = "gradient_accumulation_steps",
        .field = &Run::gradient_accumulation_steps,
        .allowed = {.at_least = 1, .at_most = 1e6},
        .about = "micro-batches of an optimiser step"},
       {.name = "num_epochs",
        .field = &Run::num_epochs,
        .allowed = {.above = 0, .at_most = 1e6},
        .about = "passes over the data; may be a fraction"},
       {.name = "max_steps",
        .field = &Run::max_steps,
        .allowed = {.at_least = 1},
        .about = "optimiser steps; wins over num_epochs"},
       {.name = "optimizer",
        .field = &Run::optimizer,
        .allowed = {.choices = {"adamw", "sgd"}},
        .about = "sgd is without momentum"},
       {.name = "learning_rate",
        .field = &Run::learning_rate,
        .allowed = {.above = 0},
        .about = "the peak, after the warm-up"},
       {.name = "weight_decay",
        .field = &Run::weight_decay,
        .allowed = {.at_least = 0},
        .about = "not of norms and biases"},
       {.name = "adam_beta1",
        .field = &Run::adam_beta1,
        .allowed = {.at_least = 0, .below = 1},
        .about = "of the gradients' moving mean"},
       {.name = "adam_beta2",
        .field = &Run::adam_beta2,
        .allowed = {.at_least = 0, .below = 1},
        .about = "of their squares' moving mean"},
       {.name = "adam_epsilon",
        .field = &Run::adam_epsilon,
        .allowed = {.above = 0},
        .about = "added to the root of the second"},
       {.name = "lr_scheduler",
        .field = &Run::lr_scheduler,
        .allowed = {.choices = {"constant", "linear", "cosine"}},
        .about = "from the peak; linear and cosine end at 0"},
       {.name = "warmup_steps",
        .field = &Run::warmup_steps,
        .allowed = {.at_least = 0},
        .about = "in which the learning rate rises from 0"},
       {.name = "warmup_ratio",
        .field = &Run::warmup_ratio,
        .allowed = {.at_least = 0, .at_most = 1},
        .about = "of all steps; instead of warmup_steps"},
       {.name = "max_grad_norm",
        .field = &Run::max_grad_norm,
        .allowed = {.at_least = 0},
        .about = "gradients are scaled down to this norm; 0 = no clipping"},
       {.name = "gradient_checkpointing",
        .field = &Run::gradient_checkpointing,
        .about = "computes each block twice and keeps its input alone: less memory, more time"}}};
}

KeyGroup run_keys() {
  return {
      "Run",
      {{.name = "logging_steps",
        .field = &Run::logging_steps,
        .allowed = {.at_least = 1},
        .about = "from one line of metrics to the next"},
       {.name = "eval_steps",
        .field = &Run::eval_steps,
        .allowed = {.at_least = 0},
        .about = "from one evaluation to the next; 0 = before the first step and at the end"},
       {.name = "save_steps",
        .field = &Run::save_steps,
        .allowed = {.at_least = 0},
        .about = "from one checkpoint to the next; 0 = only at the end"},
       {.name = "save_total_limit",
        .field = &Run::save_total_limit,
        .allowed = {.at_least = 0},
        .about = "newest checkpoints kept; 0 = all"},
       {.name = "early_stopping_patience",
        .field = &Run::early_stopping_patience,
        .allowed = {.at_least = 1},
        .about = "evaluations without a better eval_loss until the run ends"},
       {.name = "load_best_model_at_end",
        .field = &Run::load_best_model_at_end,
        .about = "true with early_stopping_patience unless given"},
       {.name = "resume_from_checkpoint",
        .field = &Run::resume_from_checkpoint,
        .about =
            "branch off from this checkpoint, in a new output_dir; --resume goes on with a run"},
       {.name = "report_to",
        .field = &Run::report_to,
        .allowed = {.choices = {"none", "tensorboard"}},
        .about = "beside metrics.jsonl"},
       {.name = "sample_prompts",
        .field = &Run::sample_prompts,
        .about = "continued and logged at every evaluation"},
       {.name = "output_dir",
        .field = &Run::output_dir,
        .about = "for the result, checkpoints and metrics",
        .required = true},
       {.name = "export_formats",
        .field = &Run::export_formats,
        .allowed = {.items = {"shira", "peft"}},
        .about =
            "of entries: shira is always written; peft: PEFT's layout too, into output_dir/peft"},
       {.name = "seed",
        .field = &Run::seed,
        .allowed = {.at_least = 0},
        .about = "of the held-out share, the order of the data, first factors and dropout"},
       {.name = "device",
        .field = &Run::device,
        .allowed = {.choices = {"cpu", "cuda"}},
        .about = "where to train"},
       {.name = "num_threads",
        .field = &Run::num_threads,
        .allowed = {.at_least = 0, .at_most = 1024},
        .about = "0 = LibTorch's default"}}};
}

constexpr std::string_view kKeysNotYet[]{
    "instance_data_dir",
    "instance_prompt",
    "class_data_dir",
    "class_prompt",
    "with_prior_preservation",
    "prior_loss_weight",
    "train_data_dir",
    "resolution",
    "center_crop",
    "random_flip",
    "snr_gamma",
    "noise_offset",
    "prediction_type",
    "cache_latents",
    "train_text_encoder",
    "validation_prompts",
};

KeyGroup keys_not_yet() {
  KeyGroup group{"Not supported in this version", {}};
  for (const std::string_view name : kKeysNotYet) group.keys.push_back({name, NotYet{}});
  return group;
}

std::vector<Key<RunConfig>> joined(const std::vector<KeyGroup>& groups) {
  std::vector<Key<RunConfig>> keys;
  for (const KeyGroup& group : groups) {
    keys.insert(keys.end(), group.keys.begin(), group.keys.end());
  }
  return keys;
}

}  // namespace

const std::vector<KeyGroup>& config_key_groups() {
  static const std::vector<KeyGroup> groups = {model_keys(),        factor_keys(), data_keys(),
                                               optimisation_keys(), run_keys(),    keys_not_yet()};
  return groups;
}

const std::vector<Key<RunConfig>>& config_keys() {
  static const std::vector<Key<RunConfig>> keys = joined(config_key_groups());
  return keys;
}

const std::vector<Key<DatasetConfig>>& dataset_keys() {
  static const std::vector<Key<DatasetConfig>> keys = {
      {.name = "path", .field = &DatasetConfig::path, .about = "a local file", .required = true},
      {.name = "type",
       .field = &DatasetConfig::type,
       .allowed = {.choices = {"text", "completion", "alpaca", "messages", "sharegpt"}},
       .about = "text: a file cut into windows; the others: records, a JSON list or JSONL"},
      {.name = "weight",
       .field = &DatasetConfig::weight,
       .allowed = {.above = 0, .at_most = 1e6},
       .about = "how often an epoch takes each sample"}};
  return keys;
}

}  // namespace shira::detail
