// Configuration in, parts out.
#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/io/hub_cache.h>
#include <shira/io/image_file.h>
#include <shira/tasks/diffusion_run.h>
#include <shira/tasks/image_generation.h>
#include <shira/tasks/noise_scheduler.h>
#include <shira/tasks/run_masks.h>
#include <shira/tasks/training_run.h>

#include <utility>

namespace shira {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kSampleSteps = 25;  // of validation pictures
constexpr const char* kSpareScheduler = "dpmpp_2m";

bool trains_component(const RunConfig& config, const std::string& name) {
  return name.starts_with("unet.") ||
         (config.train_text_encoder && name.starts_with("text_encoder"));
}

ImageLoaderOptions loader_options(const RunConfig& config, bool shuffle) {
  return {.batch_size = config.micro_batch_size,
          .resolution = config.resolution,
          .center_crop = config.center_crop || !shuffle,
          .random_flip = config.random_flip && shuffle,
          .aspect_ratio_buckets = config.aspect_ratio_buckets,
          .background = parse_colour(config.image_background),
          .seed = static_cast<std::uint64_t>(config.seed),
          .shuffle = shuffle};
}

fs::path scheduler_file(const RunConfig& config) {
  return resolve_base_model(config.base_model) / "scheduler" / "scheduler_config.json";
}

/// Puts the run's prediction_type into the pipeline; an adapter cannot carry it.
void choose_prediction(const RunConfig& config, SchedulerConfig& scheduler) {
  if (config.prediction_type == "auto") return;
  const PredictionType chosen = prediction_types().at(config.prediction_type);
  if (chosen != scheduler.prediction_type && config.adapter != "full") {
    log_warning(detail::concat("prediction_type: ", config.prediction_type,
                               " is not what the base predicts. Who draws with the adapter must "
                               "have it in the pipeline's scheduler_config.json."));
  }
  scheduler.prediction_type = chosen;
}

/// What draws the run's pictures, as ImagineOptions has it: the pipeline's own scheduler, or
/// another where that is none of ours.
std::string drawing_scheduler(const DiffusionPipeline& pipeline) {
  try {
    make_noise_scheduler(pipeline->scheduler, "", 1);
    return "";
  } catch (const ConfigError&) {
    log_warning(detail::concat("the pipeline's ", pipeline->scheduler.class_name,
                               " is not supported; this run draws its pictures with ",
                               kSpareScheduler, "."));
    return kSpareScheduler;
  }
}

/// The first path in the directory of class-0.png, class-1.png, ... from `number` on that is free.
fs::path free_class_image(const fs::path& directory, std::int64_t& number) {
  while (true) {
    const fs::path path = directory / detail::concat("class-", number, ".png");
    if (!fs::exists(fs::symlink_status(path))) return path;
    ++number;
  }
}

}  // namespace

DiffusionPipeline load_base_pipeline(const RunConfig& config, bool only_look) {
  check_device(config);
  const bool is_full = config.adapter == "full";
  const bool writes_weights = !only_look && config.adapter != "lora" && config.adapter != "dora";
  LoadOptions options;
  options.dtype = parse_base_dtype(config.base_dtype);
  if (is_full && !only_look) options.dtype = torch::kFloat32;
  options.writable = [config, writes_weights](const std::string& name) {
    return writes_weights && trains_component(config, name);
  };
  DiffusionPipeline pipeline(resolve_base_model(config.base_model), options);
  if (config.device != "cpu") pipeline->to(torch::Device(config.device));
  pipeline->unet->gradient_checkpointing = config.gradient_checkpointing;
  for (ClipText& encoder : pipeline->text_encoders) {
    encoder->gradient_checkpointing = config.gradient_checkpointing && config.train_text_encoder;
  }
  choose_prediction(config, pipeline->scheduler);
  return pipeline;
}

std::shared_ptr<torch::nn::Module> trained_parts(const RunConfig& config,
                                                 const DiffusionPipeline& pipeline) {
  return pipeline->trained_parts(config.train_text_encoder);
}

namespace {

/// What can be said before hours of drawing.
void check_before_drawing(const RunConfig& config, const DiffusionPipeline& pipeline) {
  load_images_of_subject(config.instance_data_dir, config.instance_prompt,
                         parse_on_corrupt_image(config.on_corrupt_image));
  if (config.adapter != "full") run_targets(config, *trained_parts(config, pipeline));
}

}  // namespace

void make_class_images(const RunConfig& config, DiffusionPipeline& pipeline) {
  if (!config.with_prior_preservation) return;
  const fs::path directory = config.class_data_dir;
  std::error_code error;
  SHIRA_CHECK(ConfigError, !fs::equivalent(config.instance_data_dir, directory, error),
              "class_data_dir: is instance_data_dir, ", config.class_data_dir,
              "; the class's pictures go into a directory of their own.");
  const std::int64_t there = count_image_files(directory);
  if (there >= config.num_class_images) return;
  check_before_drawing(config, pipeline);
  fs::create_directories(directory, error);
  SHIRA_CHECK(ConfigError, !error && fs::is_directory(directory), "class_data_dir ",
              directory.string(), ": cannot be made: ", error.message(), ".");
  log_info(detail::concat("making ", config.num_class_images - there, " pictures of '",
                          config.class_prompt, "' in ", directory.string()));
  const auto of_run = std::exchange(pipeline->scheduler.prediction_type,
                                    read_scheduler_config(scheduler_file(config)).prediction_type);
  ImagineOptions options;
  options.height = options.width = config.resolution;
  options.scheduler = drawing_scheduler(pipeline);
  std::int64_t number = 0;
  for (std::int64_t made = there + 1; made <= config.num_class_images; ++made) {
    const fs::path path = free_class_image(directory, number);
    options.seed = static_cast<std::uint64_t>(number);
    write_png(path, to_picture(imagine(pipeline, {config.class_prompt}, options).pixels[0]));
    if (made % 10 == 0) {
      log_info(detail::concat("made ", made, " of ", config.num_class_images, " pictures"));
    }
  }
  pipeline->scheduler.prediction_type = of_run;
}

ImageSplit load_pictures(const RunConfig& config) {
  const OnCorruptImage on_corrupt = parse_on_corrupt_image(config.on_corrupt_image);
  std::vector<ImageSample> samples =
      config.instance_data_dir.empty()
          ? load_captioned_images(config.train_data_dir, on_corrupt)
          : load_images_of_subject(config.instance_data_dir, config.instance_prompt, on_corrupt);
  if (config.with_prior_preservation) {
    const auto priors = load_prior_images(config.class_data_dir, config.class_prompt,
                                          config.num_class_images, on_corrupt);
    samples.insert(samples.end(), priors.begin(), priors.end());
  }
  return split_images(std::move(samples), config.val_set_size,
                      static_cast<std::uint64_t>(config.seed));
}

DiffusionData make_train_data(const RunConfig& config, const DiffusionPipeline& pipeline,
                              std::vector<ImageSample> pictures) {
  const std::int64_t factor = pipeline->vae->config.factor();
  SHIRA_CHECK(ConfigError, config.resolution % factor == 0, "resolution: ", config.resolution,
              " is no multiple of ", factor, ", the pixels of a latent.");
  ImageLoader loader(std::move(pictures), loader_options(config, /*shuffle=*/true));
  return {pipeline,
          std::move(loader),
          {.seed = static_cast<std::uint64_t>(config.seed),
           .noise_offset = config.noise_offset,
           .proportion_empty_prompts = config.proportion_empty_prompts,
           .cache_latents = config.cache_latents,
           .gives_ids = config.train_text_encoder}};
}

std::unique_ptr<DiffusionData> make_validation_data(const RunConfig& config,
                                                    const DiffusionPipeline& pipeline,
                                                    std::vector<ImageSample> pictures) {
  if (pictures.empty()) return nullptr;
  ImageLoader loader(std::move(pictures), loader_options(config, /*shuffle=*/false));
  return std::make_unique<DiffusionData>(
      pipeline, std::move(loader),
      DiffusionDataOptions{.seed = static_cast<std::uint64_t>(config.seed),
                           .cache_latents = config.cache_latents,
                           .gives_ids = config.train_text_encoder});
}

DiffusionObjectiveOptions objective_options(const RunConfig& config,
                                            const DiffusionPipeline& pipeline) {
  return {.prediction = pipeline->scheduler.prediction_type,
          .snr_gamma = config.snr_gamma,
          .prior_loss_weight = config.prior_loss_weight};
}

SaveInto pipeline_saver(const RunConfig& config, const DiffusionPipeline& pipeline) {
  const auto base = resolve_base_model(config.base_model);
  const auto dtype = parse_base_dtype(config.base_dtype);
  return [pipeline, base, dtype, with_text = config.train_text_encoder](const fs::path& directory) {
    save_pipeline(directory, pipeline, with_text, base, dtype);
  };
}

std::function<std::vector<SampleText>(std::int64_t)> make_sample_pictures(
    const RunConfig& config, const DiffusionPipeline& pipeline) {
  if (config.validation_prompts.empty()) return nullptr;
  const fs::path folder = fs::path(config.output_dir) / "samples";
  ImagineOptions options;
  options.steps = kSampleSteps;
  options.scheduler = drawing_scheduler(pipeline);
  options.height = options.width = config.resolution;
  options.seed = static_cast<std::uint64_t>(config.seed);
  return [prompts = config.validation_prompts, pipeline = pipeline, folder,
          options](std::int64_t step) mutable {
    const Imagined made = imagine(pipeline, prompts, options);
    std::vector<Picture> pictures;
    for (const torch::Tensor& pixels : made.pixels.unbind()) pictures.push_back(to_picture(pixels));
    fs::create_directories(folder);
    const std::string name = detail::concat("step-", step, ".png");
    write_png(folder / name, picture_grid(pictures, static_cast<int>(pictures.size())));
    std::string all;
    for (const std::string& prompt : prompts) all += (all.empty() ? "" : " | ") + prompt;
    return std::vector<SampleText>{{all, "samples/" + name}};
  };
}

}  // namespace shira
