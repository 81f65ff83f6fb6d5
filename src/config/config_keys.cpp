// The rows of the key table; their order and comments follow run_config.h.
#include "config_keys.h"

namespace shira::detail {
namespace {

using Run = RunConfig;

KeyGroup model_keys() {
  return {"Model and adapter",
          {{.name = "base_model",
            .field = &Run::base_model,
            .about = "a HuggingFace checkpoint directory",
            .required = true},
           {.name = "base_dtype",
            .field = &Run::base_dtype,
            .allowed = {.choices = {"auto", "float32", "bfloat16", "float16"}}},
           {.name = "bf16", .field = Bf16Alias{}, .about = "true = base_dtype: bfloat16"},
           {.name = "adapter",
            .field = &Run::adapter,
            .allowed = {.choices = {"shira", "full"}, .later = {"lora", "dora", "wm_dora"}}},
           {.name = "target_modules",
            .field = &Run::target_modules,
            .allowed = {.choices = {"all-linear"}},
            .about = "suffixes of module names, or all-linear (without lm_head)"},
           {.name = "shira_mask",
            .field = &Run::shira_mask,
            .allowed = {.choices = {"rand", "wm"}, .later = {"struct", "grad", "snip"}}},
           {.name = "shira_density",
            .field = &Run::shira_density,
            .allowed = {.above = 0, .at_most = 1},
            .about = "trained share of each tensor"},
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
            .about = "the k-th band of entries in order of magnitude"}}};
}

KeyGroup data_keys() {
  return {"Data",
          {{.name = "datasets", .field = &Run::datasets, .required = true},
           {.name = "sequence_len",
            .field = &Run::sequence_len,
            .allowed = {.at_least = 2},
            .about = "tokens of a sample at most"},
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
        .allowed = {.at_least = 1, .at_most = 1e6}},
       {.name = "gradient_accumulation_steps",
        .field = &Run::gradient_accumulation_steps,
        .allowed = {.at_least = 1, .at_most = 1e6}},
       {.name = "num_epochs", .field = &Run::num_epochs, .allowed = {.above = 0, .at_most = 1e6}},
       {.name = "max_steps",
        .field = &Run::max_steps,
        .allowed = {.at_least = 1},
        .about = "wins over num_epochs"},
       {.name = "optimizer", .field = &Run::optimizer, .allowed = {.choices = {"adamw", "sgd"}}},
       {.name = "learning_rate", .field = &Run::learning_rate, .allowed = {.above = 0}},
       {.name = "weight_decay", .field = &Run::weight_decay, .allowed = {.at_least = 0}},
       {.name = "adam_beta1", .field = &Run::adam_beta1, .allowed = {.at_least = 0, .below = 1}},
       {.name = "adam_beta2", .field = &Run::adam_beta2, .allowed = {.at_least = 0, .below = 1}},
       {.name = "adam_epsilon", .field = &Run::adam_epsilon, .allowed = {.above = 0}},
       {.name = "lr_scheduler",
        .field = &Run::lr_scheduler,
        .allowed = {.choices = {"constant", "linear", "cosine"}}},
       {.name = "warmup_steps", .field = &Run::warmup_steps, .allowed = {.at_least = 0}},
       {.name = "warmup_ratio",
        .field = &Run::warmup_ratio,
        .allowed = {.at_least = 0, .at_most = 1},
        .about = "of all steps; instead of warmup_steps"},
       {.name = "max_grad_norm",
        .field = &Run::max_grad_norm,
        .allowed = {.at_least = 0},
        .about = "0 = no clipping"}}};
}

KeyGroup run_keys() {
  return {"Run",
          {{.name = "logging_steps", .field = &Run::logging_steps, .allowed = {.at_least = 1}},
           {.name = "eval_steps",
            .field = &Run::eval_steps,
            .allowed = {.at_least = 0},
            .about = "0 = only at the end"},
           {.name = "save_steps",
            .field = &Run::save_steps,
            .allowed = {.at_least = 0},
            .about = "0 = only at the end"},
           {.name = "save_total_limit",
            .field = &Run::save_total_limit,
            .allowed = {.at_least = 0},
            .about = "newest checkpoints kept; 0 = all"},
           {.name = "output_dir", .field = &Run::output_dir, .required = true},
           {.name = "seed", .field = &Run::seed, .allowed = {.at_least = 0}},
           {.name = "device", .field = &Run::device, .allowed = {.choices = {"cpu"}}},
           {.name = "num_threads",
            .field = &Run::num_threads,
            .allowed = {.at_least = 0, .at_most = 1024},
            .about = "0 = LibTorch's default"}}};
}

constexpr std::string_view kKeysNotYet[]{
    "adapter_dir",
    "shira_struct_axis",
    "shira_struct_offset",
    "shira_calibration_batches",
    "shira_calibration_memory",
    "shira_training",
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "use_rslora",
    "export_formats",
    "sample_packing",
    "gradient_checkpointing",
    "early_stopping_patience",
    "load_best_model_at_end",
    "resume_from_checkpoint",
    "report_to",
    "sample_prompts",
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
  static const std::vector<KeyGroup> groups = {model_keys(), data_keys(), optimisation_keys(),
                                               run_keys(), keys_not_yet()};
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
       .allowed = {.choices = {"text", "alpaca"}},
       .about = "text: a file cut into windows; alpaca: a JSON list or JSONL"}};
  return keys;
}

}  // namespace shira::detail
