// One function a way of training.
#include "text_encoder_hint.h"

#include <shira/base/error.h>
#include <shira/io/atomic_file.h>
#include <shira/io/checksum.h>
#include <shira/io/hub_cache.h>
#include <shira/methods/full_training.h>
#include <shira/methods/hooked_shira.h>
#include <shira/methods/lora.h>
#include <shira/methods/packed_shira.h>
#include <shira/methods/wm_dora.h>
#include <shira/nn/parameters.h>
#include <shira/sparse/adapter_switcher.h>
#include <shira/sparse/base_checkpoint.h>
#include <shira/sparse/peft_adapter.h>
#include <shira/tasks/run_method.h>
#include <shira/tasks/training_run.h>

#include <algorithm>

namespace shira {
namespace {

std::string fingerprint(const std::vector<NamedTensor>& tensors) {
  std::vector<std::uint64_t> hashes;
  for (const auto& [name, tensor] : tensors) {
    hashes.push_back(base_checksum(tensor, tensor.scalar_type()));
  }
  return std::to_string(xxh3_64(hashes.data(), hashes.size() * sizeof(std::uint64_t)));
}

std::int64_t count_entries(const std::vector<NamedTensor>& tensors) {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : tensors) count += tensor.numel();
  return count;
}

// --- Sparse adapters ----------------------------------------------------------------------------

/// The adapter in `directory`, after it was found to fit `model`.
SparseAdapter fitting_adapter(const torch::nn::Module& model,
                              const std::filesystem::path& directory) {
  SparseAdapter adapter = load_adapter(directory);
  SHIRA_CHECK(ConfigError, adapter.kind == ValueKind::kWeights, directory.string(),
              ": holds differences to a base; only an adapter of new weights can be trained on.");
  AdapterSwitcher(model).resolve({{adapter}});
  return adapter;
}

/// The targets that the masks are for; ConfigError when there is a mask for no target.
std::vector<LayerTarget> masked_targets(std::vector<LayerTarget> targets, const MaskMap& masks) {
  std::erase_if(targets, [&](const LayerTarget& t) { return !masks.contains(t.parameter_name()); });
  SHIRA_CHECK(ConfigError, targets.size() == masks.size(),
              "target_modules: ", masks.size() - targets.size(), " of the ", masks.size(),
              " tensors that the adapter trains are not among the targets. Use those of the run "
              "that made it.");
  return targets;
}

std::unique_ptr<SparseTraining> make_sparse_training(const RunConfig& config,
                                                     const torch::nn::Module& model,
                                                     const MaskMap& masks) {
  auto targets = masked_targets(run_targets(config, model), masks);
  if (config.shira_training == "hooks") return std::make_unique<HookedShira>(model, masks);
  return std::make_unique<PackedShira>(std::move(targets), masks);
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

void save_peft_directory(const std::filesystem::path& directory, const SparseAdapter& adapter,
                         const std::string& task_type) {
  const auto base = map_checkpoint(resolve_base_model(adapter.base_model));
  write_directory(directory, [&](const std::filesystem::path& temporary) {
    save_peft_adapter(temporary, adapter, base, task_type);
  });
}

/// What saves the adapter that `extract` gives, in the formats asked for. `mask_type` says in a
/// word where the entries came from.
SaveInto sparse_saver(const RunConfig& config, const RunModel& model, const MaskMap& masks,
                      const std::string& mask_type, const std::function<SparseAdapter()>& extract) {
  const bool to_peft = exports_to_peft(config, masks);
  return [=, base = config.base_model,
          task_type = model.task_type](const std::filesystem::path& directory) {
    SparseAdapter adapter = extract();
    adapter.base_model = base;
    adapter.mask_type = mask_type;
    save_adapter(directory, adapter);
    if (to_peft) save_peft_directory(directory / "peft", adapter, task_type);
  };
}

RunMethod make_shira(const RunConfig& config, const RunModel& model,
                     const std::optional<std::filesystem::path>& resume_from) {
  std::optional<SparseAdapter> start;
  if (resume_from) {
    start = fitting_adapter(model.module, *resume_from);
  } else if (!config.adapter_dir.empty()) {
    start = with_text_encoder_hint(
        config, [&] { return fitting_adapter(model.module, config.adapter_dir); });
  }
  const MaskMap masks =
      start ? start->masks() : make_masks(config, model.module, &model.calibration);
  auto shira = make_sparse_training(config, model.module, masks);
  if (start) shira->start_from(*start);
  const std::string built = is_mask_file(config.shira_mask) ? "file" : config.shira_mask;
  auto save = sparse_saver(config, model, masks, start ? start->mask_type : built,
                           [shira = shira.get()] { return shira->extract(); });
  std::int64_t trained = 0;
  for (const auto& [name, mask] : masks) trained += mask.nnz();
  return {std::move(shira), std::move(save), trained, 0, {}};
}

// --- Factors ------------------------------------------------------------------------------------

LoraOptions lora_options(const RunConfig& config) {
  return {.r = config.lora_r,
          .alpha = config.lora_alpha,
          .dropout = config.lora_dropout,
          .use_rslora = config.use_rslora,
          .use_dora = config.adapter != "lora",
          .seed = static_cast<std::uint64_t>(config.seed)};
}

/// PEFT's directory, after it was found to be of the configured kind and to have all its tensors.
LoraAdapter fitting_lora(const RunConfig& config, const torch::nn::Module& model,
                         const std::filesystem::path& directory) {
  ParameterShapes shapes;
  for (const auto& [name, weight] : nn::unique_parameters(model)) {
    shapes[name] = weight.sizes().vec();
  }
  LoraAdapter adapter =
      with_text_encoder_hint(config, [&] { return load_lora_adapter(directory, &shapes); });
  const char* kind = adapter.tensors.begin()->second.magnitude.defined() ? "dora" : "lora";
  SHIRA_CHECK(ConfigError, config.adapter == kind, directory.string(), ": holds a ", kind,
              " adapter. Set adapter: ", kind, ".");
  return adapter;
}

std::unique_ptr<LoraTraining> make_lora_training(
    const RunConfig& config, const torch::nn::Module& model,
    const std::optional<std::filesystem::path>& resume_from) {
  const std::filesystem::path start = resume_from.value_or(config.adapter_dir);
  if (start.empty()) {
    return std::make_unique<LoraTraining>(run_targets(config, model), lora_options(config));
  }
  return std::make_unique<LoraTraining>(model, fitting_lora(config, model, start),
                                        config.lora_dropout);
}

/// Of a base that the result does not know.
std::map<std::string, std::string> base_identity(const torch::nn::Module& model) {
  return {{"weights of base_model", fingerprint(nn::unique_parameters(model))}};
}

RunMethod make_lora(const RunConfig& config, const RunModel& model,
                    const std::optional<std::filesystem::path>& resume_from) {
  auto lora = make_lora_training(config, model.module, resume_from);
  const auto save = [lora = lora.get(), base = config.base_model,
                     task_type = model.task_type](const std::filesystem::path& directory) {
    LoraAdapter adapter = lora->extract();
    adapter.base_model = base;
    save_lora_adapter(directory, adapter, task_type);
  };
  return {std::move(lora), save, 0, 0, base_identity(model.module)};
}

/// The masks are a function of the base: a resumed run builds them again.
RunMethod make_wm_dora(const RunConfig& config, const RunModel& model) {
  auto identity = base_identity(model.module);
  const MaskMap masks = make_masks(config, model.module);
  auto method =
      std::make_unique<WmDora>(run_targets(config, model.module), masks, lora_options(config));
  auto save = sparse_saver(config, model, masks, "wm",
                           [method = method.get()] { return method->extract(); });
  return {std::move(method), std::move(save), 0, 0, std::move(identity)};
}

// --- Any method ---------------------------------------------------------------------------------

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

/// What chooses the trained entries and the loss; those without effect hold their defaults.
std::map<std::string, std::string> method_identity(const RunConfig& config) {
  std::map<std::string, std::string> identity = {
      {"adapter", config.adapter},
      {"base_dtype", config.base_dtype},
      {"optimizer", config.optimizer},
      {"seed", std::to_string(config.seed)},
      {"micro_batch_size", std::to_string(config.micro_batch_size)},
      {"prediction_type", config.prediction_type},
      {"snr_gamma", config.snr_gamma ? detail::concat(*config.snr_gamma) : "none"},
      {"noise_offset", detail::concat(config.noise_offset)},
      {"proportion_empty_prompts", detail::concat(config.proportion_empty_prompts)},
      {"prior_loss_weight", detail::concat(config.prior_loss_weight)},
      {"cache_latents", config.cache_latents ? "true" : "false"}};
  if (config.adapter == "full") return identity;
  identity["adapter_dir"] = config.adapter_dir;
  identity["target_modules"] = joined(config.target_modules);
  if (config.adapter != "shira") {
    identity["lora_r"] = std::to_string(config.lora_r);
    identity["lora_alpha"] = detail::concat(config.lora_alpha);
    identity["lora_dropout"] = detail::concat(config.lora_dropout);
    identity["use_rslora"] = config.use_rslora ? "true" : "false";
  }
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

RunMethod make_kind(const RunConfig& config, const RunModel& model,
                    const std::optional<std::filesystem::path>& resume_from) {
  if (config.adapter == "full") {
    return {std::make_unique<FullTraining>(model.module), model.save, 0, 0,
            base_identity(model.module)};
  }
  if (config.adapter == "wm_dora") return make_wm_dora(config, model);
  if (config.adapter == "shira") return make_shira(config, model, resume_from);
  return make_lora(config, model, resume_from);
}

}  // namespace

std::map<std::string, std::int64_t> count_run_factors(const RunConfig& config,
                                                      const torch::nn::Module& model) {
  std::map<std::string, std::int64_t> counts;
  const bool use_dora = config.adapter != "lora";
  if (!config.adapter_dir.empty()) {
    for (const auto& [name, lora] : fitting_lora(config, model, config.adapter_dir).tensors) {
      counts[name] = count_factors(weight_shape(lora), lora.a.size(0), use_dora);
    }
    return counts;
  }
  for (const auto& [name, weight] : target_weights(run_targets(config, model))) {
    counts[name] = count_factors(weight.sizes(), config.lora_r, use_dora);
  }
  return counts;
}

RunMethod make_method(const RunConfig& config, const RunModel& model,
                      const std::optional<std::filesystem::path>& resume_from) {
  RunMethod made = make_kind(config, model, resume_from);
  made.trained = made.trained > 0 ? made.trained : count_entries(made.method->parameters());
  made.total = count_entries(nn::unique_parameters(model.module));
  made.identity.merge(method_identity(config));
  return made;
}

}  // namespace shira
