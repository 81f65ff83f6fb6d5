// A training run's configuration: one flat struct, one field a YAML key, the same names. The
// defaults here are the documentation; config_parser.h fills it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shira {

/// One entry of `datasets`.
struct DatasetConfig {
  std::string path;           // a local file
  std::string type = "text";  // text: a file cut into windows | alpaca: JSON list or JSONL
};

struct RunConfig {
  // Model and adapter
  std::string base_model;           // a HuggingFace checkpoint directory
  std::string base_dtype = "auto";  // auto | float32 | bfloat16 | float16; `bf16: true` = bfloat16
  std::string adapter = "shira";    // shira | full
  std::vector<std::string> target_modules = {
      "all-linear"};              // suffixes of module names, or all-linear (without lm_head)
  std::string shira_mask = "wm";  // rand | wm
  std::optional<double>
      shira_density;  // share of each tensor, (0, 1]; 0.01 when shira_r is not given either
  std::optional<std::int64_t> shira_r;  // PEFT's count: r * (out + in) entries a tensor
  std::int64_t shira_seed = 0;          // of the rand mask
  std::int64_t shira_wm_band = 0;       // the k-th band of nnz entries in order of magnitude

  // Data
  std::vector<DatasetConfig> datasets;
  std::int64_t sequence_len = 512;
  bool train_on_inputs = false;  // prompt tokens carry loss too
  double val_set_size = 0.0;     // below 1: a share of the samples; 1 and above: a count

  // Optimisation
  std::int64_t micro_batch_size = 1;
  std::int64_t gradient_accumulation_steps = 1;
  double num_epochs = 1.0;
  std::optional<std::int64_t> max_steps;  // wins over num_epochs
  std::string optimizer = "adamw";        // adamw | sgd
  double learning_rate = 5e-4;
  double weight_decay = 0.0;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  std::string lr_scheduler = "linear";  // constant | linear | cosine
  std::optional<std::int64_t> warmup_steps;
  std::optional<double> warmup_ratio;  // of all steps; not together with warmup_steps
  double max_grad_norm = 1.0;          // 0 = no clipping

  // Run
  std::int64_t logging_steps = 10;
  std::int64_t eval_steps = 0;        // 0 = only at the end (when val_set_size > 0)
  std::int64_t save_steps = 0;        // 0 = only at the end
  std::int64_t save_total_limit = 2;  // newest checkpoints kept; 0 = all
  std::string output_dir;
  std::int64_t seed = 42;
  std::string device = "cpu";    // cpu
  std::int64_t num_threads = 0;  // 0 = LibTorch's default
};

}  // namespace shira
