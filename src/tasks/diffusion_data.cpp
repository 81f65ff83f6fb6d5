// Made in the reader's thread, beside training: nothing here reads what a run trains.
#include <shira/base/error.h>
#include <shira/base/logging.h>
#include <shira/kernels/philox.h>
#include <shira/tasks/diffusion_data.h>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Functions.h>

#include <cmath>

namespace shira {
namespace {

constexpr std::size_t kMostStates = std::size_t{1} << 30;  // bytes of text states that are kept

at::Generator generator_for(std::uint64_t seed, std::int64_t epoch, std::int64_t number) {
  PhiloxStream stream(seed, detail::concat("noise of batch ", number, " of epoch ", epoch));
  return at::make_generator<at::CPUGeneratorImpl>(stream.next_u64());
}

torch::Tensor six_sizes(const PreparedImage& image) {
  std::vector<std::int64_t> sizes;
  for (const auto& pair : {image.original_size, image.crop_top_left, image.target_size}) {
    sizes.insert(sizes.end(), pair.begin(), pair.end());
  }
  return torch::tensor(sizes).to(torch::kFloat32);
}

}  // namespace

DiffusionData::DiffusionData(DiffusionPipeline pipeline, ImageLoader loader,
                             const DiffusionDataOptions& options)
    : pipeline_(std::move(pipeline)), loader_(std::move(loader)), options_(options) {
  for (const ImageSample& sample : loader_.samples()) has_priors_ = has_priors_ || sample.is_prior;
  if (options_.cache_latents) fill_cache();
}

std::int64_t DiffusionData::batches_in_epoch(std::int64_t epoch) {
  return loader_.batches_in_epoch(epoch);
}

std::uint64_t DiffusionData::fingerprint() const { return loader_.fingerprint(); }

DiffusionData::Encoded DiffusionData::encode(std::int64_t sample, std::int64_t epoch) {
  const auto found = latents_.find(sample);
  if (found != latents_.end()) return found->second;
  const PreparedImage image = loader_.prepared(sample, epoch);
  const LatentDistribution latents = pipeline_->vae->encode(image.pixels.unsqueeze(0));
  const auto plain = [](const torch::Tensor& t) { return t[0].to(torch::kFloat32).cpu(); };
  return {{plain(latents.mean), plain(latents.logvar)}, six_sizes(image)};
}

void DiffusionData::fill_cache() {
  torch::NoGradGuard no_grad;
  const auto count = std::ssize(loader_.samples());
  for (std::int64_t i = 0; i < count; ++i) {
    latents_.emplace(i, encode(i, /*epoch=*/0));
    if ((i + 1) % 500 == 0) log_info(detail::concat("encoded ", i + 1, " of ", count, " pictures"));
  }
}

PromptStates DiffusionData::states_of(const std::string& caption) {
  const auto found = states_.find(caption);
  if (found != states_.end()) return found->second;
  PromptStates states = pipeline_->encode(pipeline_->tokenize({caption}));
  states.context = states.context.cpu();
  if (states.pooled.defined()) states.pooled = states.pooled.cpu();
  if (states_.size() * states.context.nbytes() < kMostStates) states_.emplace(caption, states);
  return states;
}

void DiffusionData::add_text(std::vector<std::string> captions, const torch::Tensor& is_empty,
                             Batch& batch) {
  for (std::size_t i = 0; i < captions.size(); ++i) {
    if (is_empty[static_cast<std::int64_t>(i)].item<bool>()) captions[i].clear();
  }
  if (options_.gives_ids) {
    const auto ids = pipeline_->tokenize(captions);
    batch["input_ids"] = ids[0];
    if (pipeline_->is_xl()) batch["input_ids_2"] = ids[1];
    return;
  }
  std::vector<torch::Tensor> contexts, pooled;
  for (const std::string& caption : captions) {
    const PromptStates states = states_of(caption);
    contexts.push_back(states.context);
    pooled.push_back(states.pooled);
  }
  batch["context"] = at::cat(contexts);
  if (pipeline_->is_xl()) batch["pooled"] = at::cat(pooled);
}

Batch DiffusionData::batch(std::int64_t epoch, std::int64_t number) {
  torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> means, logvars, sizes;
  std::vector<std::string> captions;
  std::vector<std::uint8_t> priors;
  for (const auto& [sample, crop_epoch] : loader_.items_of(epoch, number)) {
    const Encoded encoded = encode(sample, crop_epoch);
    means.push_back(encoded.latents.mean);
    logvars.push_back(encoded.latents.logvar);
    sizes.push_back(encoded.sizes);
    const ImageSample& info = loader_.samples()[static_cast<std::size_t>(sample)];
    captions.push_back(info.caption);
    priors.push_back(info.is_prior ? 1 : 0);
  }
  const at::Generator generator = generator_for(options_.seed, epoch, number);
  const LatentDistribution latents{at::stack(means), at::stack(logvars)};
  const auto shape = latents.mean.sizes();
  const std::int64_t rows = shape[0];
  Batch batch;
  batch["latents"] =
      latents.sample(at::randn(shape, generator)) * pipeline_->vae->config.scaling_factor;
  torch::Tensor noise = at::randn(shape, generator);
  if (options_.noise_offset > 0.0) {
    noise = noise + options_.noise_offset * at::randn({rows, shape[1], 1, 1}, generator);
  }
  batch["noise"] = noise;
  batch["timesteps"] = at::randint(pipeline_->scheduler.num_train_timesteps, {rows}, generator,
                                   at::dtype(torch::kInt64));
  const torch::Tensor is_empty = at::rand({rows}, generator) < options_.proportion_empty_prompts;
  add_text(std::move(captions), is_empty, batch);
  if (pipeline_->is_xl()) batch["time_ids"] = at::stack(sizes);
  if (has_priors_) batch["is_prior"] = torch::tensor(priors).to(torch::kBool);
  return batch;
}

}  // namespace shira
