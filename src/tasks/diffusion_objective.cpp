// The loss in float32, whatever the UNet computes in.
#include <shira/tasks/diffusion_objective.h>

#include <ATen/Functions.h>

namespace shira {

DiffusionObjective::DiffusionObjective(DiffusionPipeline pipeline,
                                       const DiffusionObjectiveOptions& options)
    : pipeline_(std::move(pipeline)), schedule_(pipeline_->scheduler), options_(options) {}

UnetConditions DiffusionObjective::conditions(const Batch& batch) {
  UnetConditions conditions;
  if (batch.contains("context")) {
    conditions.context = batch.at("context");
    if (pipeline_->is_xl()) conditions.text_embeds = batch.at("pooled");
  } else {
    std::vector<torch::Tensor> ids = {batch.at("input_ids")};
    if (pipeline_->is_xl()) ids.push_back(batch.at("input_ids_2"));
    const PromptStates states = pipeline_->encode(ids);
    conditions.context = states.context;
    conditions.text_embeds = states.pooled;
  }
  if (pipeline_->is_xl()) conditions.time_ids = batch.at("time_ids");
  return conditions;
}

torch::Tensor DiffusionObjective::target(const Batch& batch) const {
  switch (options_.prediction) {
    case PredictionType::kSample: return batch.at("latents");
    case PredictionType::kVPrediction:
      return schedule_.velocity(batch.at("latents"), batch.at("noise"), batch.at("timesteps"));
    default: return batch.at("noise");
  }
}

/// (B): what each sample's squared error counts.
torch::Tensor DiffusionObjective::sample_weights(const Batch& batch) const {
  const torch::Tensor& timesteps = batch.at("timesteps");
  torch::Tensor weights = at::ones({timesteps.size(0)}, torch::kFloat32);
  if (options_.snr_gamma) {
    const torch::Tensor snr = schedule_.snr(timesteps);
    const torch::Tensor bounded = snr.clamp_max(*options_.snr_gamma);
    // Of the noise's error: min(SNR, gamma) / SNR, which is 1 where there is noise alone.
    if (options_.prediction == PredictionType::kEpsilon) {
      weights = (*options_.snr_gamma / snr).clamp_max(1.0);
    } else if (options_.prediction == PredictionType::kVPrediction) {
      weights = bounded / (snr + 1.0);
    } else {
      weights = bounded;
    }
  }
  if (batch.contains("is_prior")) {
    weights = at::where(batch.at("is_prior"), weights * options_.prior_loss_weight, weights);
  }
  return weights;
}

torch::Tensor DiffusionObjective::loss_sum(const Batch& batch) {
  const torch::Tensor& timesteps = batch.at("timesteps");
  const torch::Tensor noisy =
      schedule_.add_noise(batch.at("latents"), batch.at("noise"), timesteps);
  const torch::Tensor output =
      pipeline_->unet->forward(noisy, timesteps, conditions(batch)).to(torch::kFloat32);
  const torch::Tensor error =
      (output - target(batch).to(output.device())).square().flatten(1).sum(1);  // (B)
  return (error * sample_weights(batch).to(output.device())).sum();
}

std::int64_t DiffusionObjective::term_count(const Batch& batch) const {
  const torch::Tensor& latents = batch.at("latents");
  const std::int64_t of_each = latents[0].numel();
  if (!batch.contains("is_prior")) return of_each * latents.size(0);
  const auto priors = batch.at("is_prior").sum().item<std::int64_t>();
  return of_each * (latents.size(0) - priors);
}

std::int64_t DiffusionObjective::item_count(const Batch& batch) const {
  return batch.at("latents").size(0);
}

}  // namespace shira
