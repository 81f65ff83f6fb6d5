// A training run's configuration: one flat struct, one field a YAML key, the same names. The
// defaults here are the documentation; config_parser.h fills it.
#pragma once

#include <shira/base/export.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shira {

/// One entry of `datasets`.
struct DatasetConfig {
  std::string path;           // a local file
  std::string type = "text";  // text | completion | alpaca | messages | sharegpt
  double weight = 1.0;        // how often an epoch takes each sample; 0.5: half of them, drawn anew
};

struct RunConfig {
  // Model and adapter
  std::string base_model;           // a HuggingFace checkpoint directory, or org/name in its cache
  std::string base_dtype = "auto";  // auto | float32 | bfloat16 | float16; `bf16: true` = bfloat16
  std::string adapter = "shira";    // shira | lora | dora | wm_dora | full
  std::string adapter_dir;          // go on from this adapter: its entries or factors
  std::vector<std::string> target_modules = {
      "all-linear"};              // suffixes of module names, or all-linear (without lm_head)
  std::string shira_mask = "wm";  // struct | rand | wm | grad | snip, or a file of masks
  std::optional<double>
      shira_density;  // share of each tensor, (0, 1]; 0.01 when shira_r is not given either
  std::optional<std::int64_t> shira_r;    // PEFT's count: r * (out + in) entries a tensor
  std::int64_t shira_seed = 0;            // of the rand mask
  std::int64_t shira_wm_band = 0;         // the k-th band of nnz entries in order of magnitude
  std::string shira_struct_axis = "row";  // row | column
  std::int64_t shira_struct_offset = 0;   // shifts the rows, so that two adapters share none
  std::int64_t shira_calibration_batches = 16;  // micro-batches that grad and snip add up
  double shira_calibration_memory = 2.0;        // GiB for scores; more targets take more passes
  std::string shira_training = "packed";        // packed | hooks

  // LoRA and DoRA
  std::int64_t lora_r = 8;    // rank of the factors of lora, dora and wm_dora
  double lora_alpha = 8.0;    // scaling is lora_alpha / lora_r
  double lora_dropout = 0.0;  // of the factors' inputs, while training
  bool use_rslora = false;    // scaling is lora_alpha / sqrt(lora_r)

  // Data
  std::vector<DatasetConfig> datasets;
  std::int64_t sequence_len = 512;
  bool sample_packing = false;            // several samples in one sequence, blind to each other
  std::string chat_template = "llama-2";  // of messages and sharegpt
  bool train_on_inputs = false;           // prompt tokens carry loss too
  double val_set_size = 0.0;              // below 1: a share of the samples; 1 and above: a count

  // Pictures (a diffusers pipeline as base_model)
  std::string train_data_dir;     // pictures with metadata.jsonl, or a .txt beside each
  std::string instance_data_dir;  // DreamBooth: pictures of one subject ...
  std::string instance_prompt;    // ... and the caption of them all
  std::string class_data_dir;     // prior preservation: pictures of its class; made when missing
  std::string class_prompt;
  bool with_prior_preservation = false;
  double prior_loss_weight = 1.0;
  std::int64_t num_class_images = 100;
  std::int64_t resolution = 512;           // pixels
  bool center_crop = false;                // else at random
  bool random_flip = false;                // left and right
  bool aspect_ratio_buckets = false;       // sizes of about resolution^2 pixels instead of squares
  std::string image_background = "white";  // under transparent pixels: white | black | "#rrggbb"
  std::string on_corrupt_image = "error";  // error | skip
  bool cache_latents = false;              // encodes each picture once, with one crop and flip
  std::string prediction_type = "auto";    // auto | epsilon | v_prediction | sample
  std::optional<double> snr_gamma;         // min-SNR weighting (Hang et al. 2023)
  double noise_offset = 0.0;               // of a channel's mean
  double proportion_empty_prompts = 0.0;   // conditioning dropout
  bool train_text_encoder = false;
  std::optional<double> text_encoder_lr;  // else learning_rate

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
  std::optional<double> warmup_ratio;   // of all steps; not together with warmup_steps
  double max_grad_norm = 1.0;           // 0 = no clipping
  bool gradient_checkpointing = false;  // computes each block twice and keeps its input alone

  // Run
  std::int64_t logging_steps = 10;
  std::int64_t eval_steps = 0;        // 0 = only at the end (when val_set_size > 0)
  std::int64_t save_steps = 0;        // 0 = only at the end
  std::int64_t save_total_limit = 2;  // newest checkpoints kept; 0 = all
  std::optional<std::int64_t> early_stopping_patience;  // evaluations without a better loss
  bool load_best_model_at_end = false;          // true with early_stopping_patience unless given
  std::string resume_from_checkpoint;           // a checkpoint directory; --resume takes the newest
  std::string report_to = "none";               // none | tensorboard
  std::vector<std::string> sample_prompts;      // continued and logged at every evaluation
  std::vector<std::string> validation_prompts;  // drawn at every evaluation: samples/step-<n>.png
  std::string output_dir;
  std::vector<std::string> export_formats = {"shira"};  // shira, peft: also output_dir/peft
  std::int64_t seed = 42;
  std::string device = "cpu";    // cpu | cuda
  std::int64_t num_threads = 0;  // 0 = LibTorch's default
};

/// Whether the run trains a diffusers pipeline: base_model is one (model_index.json) where it is a
/// directory here, else a folder of pictures is given.
SHIRA_API bool is_text_to_image(const RunConfig& config);

/// Whether `shira_mask` names a file rather than a way to choose entries.
inline bool is_mask_file(const std::string& shira_mask) {
  return shira_mask.find_first_of("/.") != std::string::npos;
}

}  // namespace shira
