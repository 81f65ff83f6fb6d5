// shira train --dry_run: everything about a run but the training. Masks that would need gradients
// are counted, not built.
#include "numbers.h"
#include "run_report.h"

#include <shira/base/logging.h>
#include <shira/io/hub_cache.h>
#include <shira/methods/targets.h>
#include <shira/models/load_llama.h>
#include <shira/nn/parameters.h>
#include <shira/sparse/mask_builders.h>
#include <shira/tasks/causal_lm.h>
#include <shira/tasks/diffusion_run.h>
#include <shira/tasks/memory_estimate.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iomanip>
#include <iostream>
#include <sstream>

namespace shira::tools {
namespace {

struct TrainedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t trained = 0;

  std::int64_t numel() const { return c10::multiply_integers(shape); }
};

/// One sample of a batch: all of its text, and the part that carries loss. (The first token never
/// does: nothing predicts it.)
struct SampleView {
  std::string text;
  std::string trained_text;
  std::int64_t tokens = 0;
  std::int64_t trained_tokens = 0;
};

/// A picture of a batch.
struct PictureView {
  std::string file;
  std::string caption;
  std::vector<std::int64_t> size;  // (height, width) that it is trained at
};

struct DryRun {
  std::vector<TrainedTensor> tensors;
  std::int64_t trained = 0;
  std::int64_t total = 0;
  std::int64_t training_samples = 0;
  std::int64_t validation_samples = 0;
  std::int64_t total_steps = 0;
  MemoryEstimate memory;
  std::vector<SampleView> batch;      // of a language model
  std::vector<PictureView> pictures;  // of a pipeline
};

std::vector<TrainedTensor> full_tensors(const torch::nn::Module& model) {
  std::vector<TrainedTensor> tensors;
  for (const auto& [name, tensor] : nn::unique_parameters(model)) {
    tensors.push_back({name, tensor.sizes().vec(), tensor.numel()});
  }
  return tensors;
}

/// By the budget alone.
std::vector<TrainedTensor> budgeted_tensors(const RunConfig& config,
                                            const torch::nn::Module& model) {
  std::vector<TrainedTensor> tensors;
  for (const auto& [name, weight] : target_weights(select_targets(model, config.target_modules))) {
    const MaskBudget budget{config.shira_density, config.shira_r};
    tensors.push_back({name, weight.sizes().vec(), mask_nnz(budget, weight.sizes())});
  }
  return tensors;
}

/// With the factors that are trained beside each of them.
std::vector<TrainedTensor> factored_tensors(const RunConfig& config,
                                            const torch::nn::Module& model) {
  const auto parameters = model.named_parameters();
  std::vector<TrainedTensor> tensors;
  for (const auto& [name, count] : count_run_factors(config, model)) {
    tensors.push_back({name, parameters[name].sizes().vec(), count});
  }
  return tensors;
}

std::vector<TrainedTensor> trained_tensors(const RunConfig& config,
                                           const torch::nn::Module& model) {
  if (config.adapter == "full") return full_tensors(model);
  if (config.adapter != "shira") return factored_tensors(config, model);
  if (needs_calibration(config)) return budgeted_tensors(config, model);
  std::vector<TrainedTensor> tensors;
  for (const auto& [name, mask] : make_masks(config, model)) {
    tensors.push_back({name, mask.shape(), mask.nnz()});
  }
  return tensors;
}

SampleView view_of(const Tokenizer& tokenizer, const TokenIds& ids, const TokenIds& labels) {
  TokenIds trained;
  std::copy_if(labels.begin() + 1, labels.end(), std::back_inserter(trained),
               [](std::int64_t label) { return label != kIgnoreLabel; });
  return {tokenizer.decode(ids), tokenizer.decode(trained), static_cast<std::int64_t>(ids.size()),
          static_cast<std::int64_t>(trained.size())};
}

TokenIds ids_between(const torch::Tensor& row, std::int64_t begin, std::int64_t end) {
  const auto* data = row.const_data_ptr<std::int64_t>();
  return {data + begin, data + end};
}

/// The samples of a batch, padded rows or one packed row.
std::vector<SampleView> views_of(const Tokenizer& tokenizer, const Batch& batch) {
  std::vector<SampleView> views;
  const torch::Tensor& ids = batch.at("input_ids");
  const torch::Tensor& labels = batch.at("labels");
  const auto add = [&](std::int64_t row, std::int64_t begin, std::int64_t end) {
    views.push_back(view_of(tokenizer, ids_between(ids[row], begin, end),
                            ids_between(labels[row], begin, end)));
  };
  if (batch.contains("cu_seqlens")) {
    const TokenIds bounds = ids_between(batch.at("cu_seqlens"), 0, batch.at("cu_seqlens").numel());
    for (std::size_t i = 0; i + 1 < bounds.size(); ++i) add(0, bounds[i], bounds[i + 1]);
    return views;
  }
  for (std::int64_t row = 0; row < ids.size(0); ++row) {
    add(row, 0, batch.at("attention_mask")[row].sum().item<std::int64_t>());
  }
  return views;
}

TrainedSizes sizes_of(const RunConfig& config, const std::vector<TrainedTensor>& tensors) {
  TrainedSizes sizes;
  const bool is_full = config.adapter == "full";
  for (const TrainedTensor& tensor : tensors) {
    sizes.trained += tensor.trained;
    sizes.largest_target = std::max(sizes.largest_target, tensor.numel());
    if (is_full) continue;  // its tensors are not all matrices
    sizes.outputs += tensor.shape[0];
    sizes.inputs += tensor.numel() / tensor.shape[0];
    if (config.adapter == "wm_dora") {
      sizes.masked += mask_nnz({config.shira_density, config.shira_r}, tensor.shape);
    }
  }
  return sizes;
}

/// What the run trains of `model`, and how many steps it takes. The sizes of what it trains.
TrainedSizes look_at_training(const RunConfig& config, const torch::nn::Module& model,
                              BatchSource& train_data, DryRun& run) {
  run.tensors = trained_tensors(config, model);
  const TrainedSizes sizes = sizes_of(config, run.tensors);
  run.trained = sizes.trained;
  for (const auto& [name, tensor] : nn::unique_parameters(model)) run.total += tensor.numel();
  StepSchedule steps([&](std::int64_t epoch) { return train_data.batches_in_epoch(epoch); },
                     config.gradient_accumulation_steps);
  run.total_steps = config.max_steps ? *config.max_steps : steps.steps_in(config.num_epochs);
  return sizes;
}

/// In memory-mapped weights: nothing is copied that the run would write.
DryRun look_at_language_model(const RunConfig& config) {
  const auto base = resolve_base_model(config.base_model);
  const Llama model = load_llama(base, {.dtype = parse_base_dtype(config.base_dtype),
                                        .writable = [](const std::string&) { return false; }});
  const Tokenizer tokenizer(base);
  check_tokenizer(model, tokenizer);
  DatasetSplit data = load_datasets(config, tokenizer);
  DryRun run;
  run.validation_samples = std::ssize(data.validation);
  DataLoader loader = make_train_loader(config, std::move(data.train));
  run.training_samples = loader.sample_count();
  run.memory = estimate_memory(config, model, look_at_training(config, *model, loader, run));
  run.batch = views_of(tokenizer, loader.batch(0, 0));
  return run;
}

/// Class pictures that are still to be made are not there yet.
DryRun look_at_pipeline(RunConfig config) {
  const DiffusionPipeline pipeline = load_base_pipeline(config, /*only_look=*/true);
  if (config.with_prior_preservation &&
      count_image_files(config.class_data_dir) < config.num_class_images) {
    log_info("class_data_dir: its pictures are still to be made; not counted here");
    config.with_prior_preservation = false;
  }
  ImageSplit pictures = load_pictures(config);
  DryRun run;
  run.training_samples = std::ssize(pictures.train);
  run.validation_samples = std::ssize(pictures.validation);
  const std::int64_t cached =
      config.cache_latents ? run.training_samples + run.validation_samples : 0;
  config.cache_latents = false;  // nothing is encoded here
  DiffusionData data = make_train_data(config, pipeline, std::move(pictures.train));
  const auto trained = trained_parts(config, pipeline);
  run.memory =
      estimate_memory(config, pipeline, look_at_training(config, *trained, data, run), cached);
  ImageLoader loader = data.loader();
  for (const auto& [sample, epoch] : loader.items_of(0, 0)) {
    const ImageSample& info = loader.samples()[static_cast<std::size_t>(sample)];
    const ImageSize size = loader.target_size(sample);
    run.pictures.push_back({info.file.string(), info.caption, {size.height, size.width}});
  }
  return run;
}

void print_tensors(const std::vector<TrainedTensor>& tensors) {
  std::size_t width = 0;
  for (const TrainedTensor& tensor : tensors) width = std::max(width, tensor.name.size());
  for (const TrainedTensor& tensor : tensors) {
    std::cout << "  " << std::left << std::setw(static_cast<int>(width) + 2) << tensor.name
              << std::setw(16) << shape_text(tensor.shape) << std::right << std::setw(12)
              << tensor.trained << "  " << percent_text(tensor.trained, tensor.numel()) << "\n";
  }
}

void print_text(const DryRun& run) {
  std::cout << "trained tensors:\n";
  print_tensors(run.tensors);
  std::cout << "trained parameters: " << run.trained << " of " << run.total << " ("
            << percent_text(run.trained, run.total) << ")\n"
            << "samples:            " << run.training_samples << " to train on, "
            << run.validation_samples << " held out\n"
            << "steps:              " << run.total_steps << "\n"
            << "memory, about:      " << bytes_text(run.memory.total())
            << " beside the program's own (weights " << bytes_text(run.memory.weights)
            << ", training " << bytes_text(run.memory.training) << ", activations "
            << bytes_text(run.memory.activations)
            << (run.memory.cache > 0.0 ? ", cache " + bytes_text(run.memory.cache) : "") << ")\n";
  std::cout << "first batch:\n";
  for (const SampleView& sample : run.batch) {
    std::cout << "--- " << sample.tokens << " tokens\n" << sample.text << "\n";
    if (sample.trained_tokens + 1 == sample.tokens) continue;  // all but the first
    std::cout << "--- of which " << sample.trained_tokens << " carry loss\n"
              << sample.trained_text << "\n";
  }
  for (const PictureView& picture : run.pictures) {
    std::cout << "  " << picture.file << " at " << shape_text(picture.size) << ": "
              << picture.caption << "\n";
  }
}

void print_json(const DryRun& run) {
  nlohmann::ordered_json object = {{"trained_parameters", run.trained},
                                   {"total_parameters", run.total},
                                   {"training_samples", run.training_samples},
                                   {"validation_samples", run.validation_samples},
                                   {"total_steps", run.total_steps},
                                   {"memory_bytes",
                                    {{"weights", run.memory.weights},
                                     {"training", run.memory.training},
                                     {"activations", run.memory.activations},
                                     {"cache", run.memory.cache},
                                     {"total", run.memory.total()}}}};
  for (const TrainedTensor& tensor : run.tensors) {
    object["tensors"].push_back(
        {{"name", tensor.name}, {"shape", tensor.shape}, {"trained", tensor.trained}});
  }
  for (const SampleView& sample : run.batch) {
    object["batch"].push_back({{"text", sample.text},
                               {"trained_text", sample.trained_text},
                               {"tokens", sample.tokens},
                               {"trained_tokens", sample.trained_tokens}});
  }
  for (const PictureView& picture : run.pictures) {
    object["batch"].push_back(
        {{"file", picture.file}, {"caption", picture.caption}, {"size", picture.size}});
  }
  std::cout << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

}  // namespace

void print_dry_run(const RunConfig& config, bool json) {
  const DryRun run =
      is_text_to_image(config) ? look_at_pipeline(config) : look_at_language_model(config);
  json ? print_json(run) : print_text(run);
}

}  // namespace shira::tools
