// The loop of diffusers' StableDiffusionPipeline and StableDiffusionXLPipeline.
#include <shira/base/error.h>
#include <shira/tasks/image_generation.h>
#include <shira/tasks/noise_scheduler.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>

#include <cmath>
#include <memory>

namespace shira {
namespace {

constexpr int kGridGap = 2;  // pixels

/// What the UNet is told in every step: with guidance the negative prompts first.
struct Guidance {
  UnetConditions conditions;
  double scale = 1.0;
  bool is_on() const { return scale > 1.0; }
};

PromptStates repeated(const PromptStates& states, std::int64_t times) {
  return {states.context.repeat_interleave(times, 0),
          states.pooled.defined() ? states.pooled.repeat_interleave(times, 0) : torch::Tensor()};
}

PromptStates negative_states(DiffusionPipeline& pipeline, const PromptStates& positive,
                             const std::optional<std::string>& prompt) {
  if (!prompt && pipeline->force_zeros_for_empty_prompt) {
    return {at::zeros_like(positive.context), at::zeros_like(positive.pooled)};
  }
  return repeated(pipeline->encode(pipeline->tokenize({prompt.value_or("")})),
                  positive.context.size(0));
}

/// Sizes as SDXL is told them: (rows, 6), nothing cropped.
torch::Tensor whole_picture_ids(std::int64_t rows, std::int64_t height, std::int64_t width) {
  const std::vector<double> ids = {
      static_cast<double>(height), static_cast<double>(width), 0.0, 0.0,
      static_cast<double>(height), static_cast<double>(width)};
  return torch::tensor(ids).to(torch::kFloat32).repeat({rows, 1});
}

Guidance make_guidance(DiffusionPipeline& pipeline, const std::vector<std::string>& prompts,
                       const ImagineOptions& options, at::IntArrayRef latent_shape) {
  Guidance guidance;
  guidance.scale = options.guidance_scale.value_or(pipeline->is_xl() ? 5.0 : 7.5);
  PromptStates states = repeated(pipeline->encode(pipeline->tokenize(prompts)), options.num_images);
  if (guidance.is_on()) {
    const PromptStates negative = negative_states(pipeline, states, options.negative_prompt);
    states.context = at::cat({negative.context, states.context});
    if (states.pooled.defined()) states.pooled = at::cat({negative.pooled, states.pooled});
  }
  guidance.conditions.context = states.context;
  guidance.conditions.text_embeds = states.pooled;
  if (pipeline->is_xl()) {
    const std::int64_t factor = pipeline->vae->config.factor();
    guidance.conditions.time_ids = whole_picture_ids(
        guidance.conditions.context.size(0), latent_shape[1] * factor, latent_shape[2] * factor);
  }
  return guidance;
}

torch::Tensor predict(DiffusionPipeline& pipeline, const Guidance& guidance,
                      const torch::Tensor& sample, float timestep) {
  const torch::Tensor input = guidance.is_on() ? at::cat({sample, sample}) : sample;
  const torch::Tensor output =
      pipeline->unet->forward(input, torch::tensor(timestep), guidance.conditions);
  if (!guidance.is_on()) return output;
  const auto halves = output.chunk(2);
  return halves[0] + guidance.scale * (halves[1] - halves[0]);
}

torch::Tensor first_noise(const DiffusionPipeline& pipeline, const ImagineOptions& options,
                          const std::vector<std::int64_t>& shape, const at::Generator& generator) {
  const auto dtype = pipeline->unet->conv_in->weight.scalar_type();
  if (!options.latents.defined()) return at::randn(shape, generator, at::dtype(dtype));
  SHIRA_CHECK(ConfigError, options.latents.sizes() == at::IntArrayRef(shape),
              "latents: expected the shape ", at::IntArrayRef(shape), ", got ",
              options.latents.sizes(), ".");
  return options.latents.to(dtype);
}

void check_options(const std::vector<std::string>& prompts, const ImagineOptions& options) {
  SHIRA_CHECK(ConfigError, !prompts.empty(), "no prompt is given.");
  SHIRA_CHECK(ConfigError, options.num_images >= 1, "num_images: ", options.num_images,
              ", expected at least 1.");
  SHIRA_CHECK(ConfigError, options.steps >= 1, "steps: ", options.steps, ", expected at least 1.");
  SHIRA_CHECK(ConfigError, !options.guidance_scale || std::isfinite(*options.guidance_scale),
              "guidance_scale: expected a finite number.");
}

torch::Tensor decode(DiffusionPipeline& pipeline, const torch::Tensor& latents) {
  const torch::Tensor pixels =
      pipeline->vae->decode(latents / pipeline->vae->config.scaling_factor);
  SHIRA_CHECK(Error, pixels.isfinite().all().item<bool>(),
              "the autoencoder's pixels are not finite. Try --base_dtype float32 (base_dtype in a "
              "configuration); if they still are not, its weights are damaged.");
  return (pixels.to(torch::kFloat32).cpu() * 0.5 + 0.5).clamp(0.0, 1.0);
}

}  // namespace

Imagined imagine(DiffusionPipeline& pipeline, const std::vector<std::string>& prompts,
                 const ImagineOptions& options) {
  torch::NoGradGuard no_grad;
  check_options(prompts, options);
  auto shape = pipeline->latent_shape(options.height, options.width);
  const Guidance guidance = make_guidance(pipeline, prompts, options, shape);
  shape.insert(shape.begin(), static_cast<std::int64_t>(prompts.size()) * options.num_images);
  const auto scheduler =
      make_noise_scheduler(pipeline->scheduler, options.scheduler, options.steps);
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(options.seed);
  const torch::Tensor noise = first_noise(pipeline, options, shape, generator);
  torch::Tensor sample = noise.to(pipeline->device()) * scheduler->init_noise_sigma();
  const std::vector<float>& timesteps = scheduler->timesteps();
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    const torch::Tensor output =
        predict(pipeline, guidance, scheduler->scale_model_input(sample, i), timesteps[i]);
    sample = scheduler->step(output, i, sample, generator);
    if (options.on_step) {
      options.on_step(static_cast<std::int64_t>(i) + 1,
                      static_cast<std::int64_t>(timesteps.size()));
    }
  }
  SHIRA_CHECK(Error, sample.isfinite().all().item<bool>(),
              "the denoised latents are not finite. Try another --base_dtype (float32), fewer or "
              "weaker adapters, or a smaller guidance_scale.");
  return {decode(pipeline, sample), noise, sample.cpu()};
}

Picture to_picture(const torch::Tensor& pixels) {
  SHIRA_CHECK(ShapeError, pixels.dim() == 3 && pixels.size(0) == 3,
              "[to_picture] expected (3, H, W), got ", pixels.sizes(), ".");
  const torch::Tensor bytes = (pixels.to(torch::kFloat32) * 255.0)
                                  .round()
                                  .to(torch::kUInt8)
                                  .permute({1, 2, 0})
                                  .contiguous();
  Picture picture(static_cast<int>(pixels.size(2)), static_cast<int>(pixels.size(1)));
  const auto* data = bytes.const_data_ptr<std::uint8_t>();
  for (Rgb& pixel : picture.pixels) {
    pixel = {data[0], data[1], data[2]};
    data += 3;
  }
  return picture;
}

Picture picture_grid(const std::vector<Picture>& pictures, int columns) {
  SHIRA_CHECK(ShapeError, !pictures.empty() && columns >= 1, "[picture_grid] no pictures.");
  const int rows = (static_cast<int>(pictures.size()) + columns - 1) / columns;
  const int width = pictures[0].width, height = pictures[0].height;
  Picture grid(columns * (width + kGridGap) - kGridGap, rows * (height + kGridGap) - kGridGap);
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    SHIRA_CHECK(ShapeError, pictures[i].width == width && pictures[i].height == height,
                "[picture_grid] the pictures differ in size.");
    const int left = static_cast<int>(i) % columns * (width + kGridGap);
    const int top = static_cast<int>(i) / columns * (height + kGridGap);
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) grid.at(left + x, top + y) = pictures[i].at(x, y);
    }
  }
  return grid;
}

}  // namespace shira
